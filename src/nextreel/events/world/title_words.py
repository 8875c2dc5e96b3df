"""The words and the patterns that titles of films and series are made of.

In a pattern stand, in braces: A an adjective, N and M nouns of the title's genre (Ns and Ms more than one of
them), P a place, G a given name, S a surname, K a key, D a number of two digits; A2, G2 and S2 are others.
"""

from typing import Final


def _words(text: str) -> list[str]:
    return text.split()


def _phrases(text: str) -> list[str]:
    return text.split(",")


ADJECTIVES: Final = _words(
    "Amber Ancient Bitter Borrowed Bright Broken Burning Careful Crooked Distant Drowned Electric Empty"
    " Endless Faithful Fallen Final First Forgotten Fragile Gentle Glass Golden Half-Lit Hidden Hollow"
    " Hungry Idle Long Lost Midnight Missing Narrow Northern Paper Patient Perfect Pale Quiet Restless"
    " Reluctant Scarlet Second Secret Silver Slow Southern Stolen Strange Sudden Tender Unfinished Unlikely"
    " Velvet Wandering Western Wild Winter"
)

KEYS: Final = ["A Minor", "C Minor", "D Major", "E Flat", "F Sharp", "G Major"]

#: Nouns by genre; every one also reads well after "The Last" and before "of Lisbon".
NOUNS: Final[dict[str, list[str]]] = {
    "Action": _words(
        "Bounty Bullet Convoy Counterstrike Detonator Extraction Fugitive Gauntlet Hardline Interceptor"
        " Payload Pursuit Redline Takedown Vanguard Warrant"
    ),
    "Adventure": _words(
        "Atlas Caravan Compass Crossing Current Expedition Island Lagoon Map Meridian Passage Summit"
        " Treasure Voyage Wilderness"
    ),
    "Animation": _words(
        "Acorn Balloon Clockmaker Dragonfly Firefly Fox Hedgehog Kite Lantern Marble Moth Paintbox Parade"
        " Penguin Sparrow Teapot"
    ),
    "Comedy": _words(
        "Alibi Babysitter Bachelor Barbecue Brunch Cousin Divorce Honeymoon Houseguest In-Law Landlord"
        " Mix-Up Neighbour Roommate Weekend"
    ),
    "Crime": _words(
        "Accomplice Alibi Confession Double-Cross Fence Getaway Heist Informant Ledger Racket Ransom"
        " Safehouse Smuggler Syndicate Testimony"
    ),
    "Documentary": _words(
        "Archive Broadcast Census Glacier Harvest Language Machine Migration Monument Plastic Reef River"
        " Satellite Seed Soil Tide"
    ),
    "Drama": _words(
        "Daughter Debt Distance Farewell Garden Homecoming House Inheritance Letter Mother Orchard Promise"
        " Silence Summer Teacher Widow"
    ),
    "Family": _words(
        "Birthday Camp Dinosaur Goat Pony Grandmother Holiday Puppy Rabbit Snowman Spaceship Toymaker"
        " Treehouse Tortoise Vacation"
    ),
    "Fantasy": _words(
        "Chalice Crown Dragon Enchantress Grimoire Citadel Labyrinth Oath Oracle Prophecy Sceptre Sorcerer"
        " Sword Throne Witchwood"
    ),
    "History": _words(
        "Abdication Armada Cathedral Chronicle Conclave Court Dynasty Empress Envoy Governor Merchant"
        " Regent Republic Revolt Treaty"
    ),
    "Horror": _words(
        "Asylum Basement Burial Cellar Coven Curse Doll Exorcism Graveyard Harvest Hunger Séance Scream"
        " Swarm Visitation Whisper"
    ),
    "Music": _words(
        "Ballad Bandstand Cadenza Chorus Encore Jukebox Lullaby Melody Nocturne Orchestra Overture Quartet"
        " Refrain Soprano Tempo"
    ),
    "Mystery": _words(
        "Cipher Clue Diary Disappearance Enigma Footprint Keyhole Lighthouse Locket Manor Portrait Riddle"
        " Secret Stranger Vanishing"
    ),
    "Romance": _words(
        "Bouquet Bride Dance Engagement Heart Kiss Love Love-Letter Moonlight Proposal Rendezvous Rose"
        " Serenade Sweetheart Valentine Wedding"
    ),
    "Sci-Fi": _words(
        "Android Antenna Colony Cosmonaut Eclipse Engine Gravity Horizon Nebula Orbit Paradox Quantum Relay"
        " Signal Singularity Starship"
    ),
    "Thriller": _words(
        "Conspiracy Countdown Deadline Decoy Defector Dossier Hostage Obsession Passenger Precipice Sleeper"
        " Surveillance Threshold Undertow Witness"
    ),
    "War": _words(
        "Armistice Barricade Battalion Bridgehead Brigade Ceasefire Dispatch Front Garrison Infantry"
        " Regiment Siege Sergeant Soldier Trench"
    ),
    "Western": _words(
        "Canyon Cattleman Drifter Frontier Gunsmith Homestead Marshal Mesa Outlaw Prairie Ranch Rider"
        " Saddle Sheriff Stagecoach"
    ),
}

#: Patterns for any title.
PATTERNS: Final = [
    "The {A} {N}", "The {A} {N}", "The {A} {N}", "{A} {N}", "The {N} of {P}", "The Last {N}",
    "The {N} at {P}", "{G}'s {N}", "One {A} {N}", "The {S} {N}", "Return to {P}", "{P}",
    "The {A} {N} of {P}", "The {N} and the {M}", "What {G} Knew", "No {N} for {G}", "{G} & {G2}",
    "A Season in {P}", "Another {N}", "All the Way to {P}", "The {S}-{S2} {N}", "Every {A} {N}",
]  # fmt: skip

#: Patterns that only titles of a genre have.
GENRE_PATTERNS: Final[dict[str, list[str]]] = {
    "Action": [
        "{S}", "{N}: {P}", "{N} at Midnight", "Out of {P}", "{A} Fury", "{N} Zero", "{S}'s {N}",
    ],
    "Adventure": [
        "{G} {S} and the {A} {N}", "The {N} to {P}", "North of {P}", "Ten Days from {P}", "Beyond the {N}",
    ],
    "Animation": [
        "{G} and the {A} {N}", "The {N} Who Found {P}", "{G} the {N}", "Little {N}, Big {M}",
    ],
    "Comedy": [
        "My {A} {N}", "{G} Gets a {N}", "Two {Ns} and a {M}", "Meet the {S}s", "Stuck with {G}",
        "{N} Trouble", "The {N} Next Door",
    ],
    "Crime": [
        "The {S} Job", "The {P} {N}", "Dead in {P}", "{S} & Daughters", "The {G} {S} Case",
    ],
    "Documentary": [
        "Inside the {N}", "{P}: A Portrait", "The {N} Question", "How We Lost the {N}", "{N}: An Inquiry",
        "{G} {S}: A Life", "The Year of the {N}",
    ],
    "Drama": [
        "The {N} of {G} {S}", "{G}, After", "Things We Left in {P}", "A {N} for {G}", "The {S} Women",
        "After the {N}",
    ],
    "Family": [
        "{G} Saves the {N}", "The {N} Who Came to {P}", "A Very {A} {N}", "{G} and the {N}", "{N} Day",
    ],
    "Fantasy": [
        "{N} of {P}", "The {N} and the {A} {M}", "Daughters of {P}", "A {N} of {A} {Ms}", "Beyond the {N}",
    ],
    "History": [
        "The {N} of 17{D}", "The {A} {N}, 18{D}", "The {S} {N}", "{G} of {P}", "Before the {N}",
    ],
    "Horror": [
        "Don't Wake {G}", "It Came to {P}", "The {P} {N}", "{N}", "They Hear the {N}", "{G} Is Not Home",
        "Under the {A} {N}",
    ],
    "Music": [
        'The Ballad of "{A}" {S}', "{N} in {K}", "{G} Sings", "The {P} {N}", "{A} {N} in {K}",
    ],
    "Mystery": [
        "Death at {P}", "The {P} {N}", "The {A} {N} of {G} {S}", "Who Was {G} {S}?", "The {N} in Room {D}",
    ],
    "Romance": [
        "{G} Loves {G2}", "A {N} in {P}", "Falling for {G}", "Dear {G}", "Once in {P}",
    ],
    "Sci-Fi": [
        "{N} {D}", "The {S} {N}", "{A} {N} Rising", "Last Signal from {P}", "{N} Minus {D}",
        "Beyond the {N}",
    ],
    "Thriller": [
        "The {S} {N}", "{N} in {P}", "{D} Hours in {P}", "Nobody Left {P}", "Without {G}", "Before the {N}",
    ],
    "War": [
        "{N} at {P}", "The {A} {N}, 19{D}", "The Road from {P}", "Letters from {P}",
    ],
    "Western": [
        "{S} Creek", "A {N} Called {S}", "Three {Ns} to {P}", "{A} {N}", "Sundown at {P}",
    ],
}  # fmt: skip

#: Patterns that only series have.
SERIES_PATTERNS: Final = [
    "{S} & {S2}", "The {S}s", "{P} Heights", "{G} in {P}", "{P} General", "{S} Street", "The {P} Years",
    "{Ns}", "{G} {S} Investigates", "{P} Nights",
]  # fmt: skip

#: What a title is told apart from its namesakes by, after a colon.
SUBTITLES: Final = ["The {A} {N}", "{N} of {P}", "Return to {P}", "{A} {N}", "The {N} Years", "{P}"]

#: Titles in other languages: fronts and backs, which agree whichever meet.
FOREIGN: Final = [
    (
        _phrases(
            "La noche,El río,Los años,La casa,Las horas,El silencio,La hija,El último verano,Una canción"
            ",El jardín,La memoria,Los secretos"
        ),
        _phrases(
            "de ceniza,del norte,sin nombre,de papel,de invierno,que no fue,de los espejos,en la niebla"
            ",de Leonor,y el mar,de San Telmo,al otro lado,de {P},en {P}"
        ),
    ),
    (
        _phrases("Le silence,La rivière,Les enfants,Un été,La maison,L'île,Le voyage,Une femme,Les lettres,L'hôtel"),
        _phrases(
            "des ombres,d'hiver,sans fin,de Céleste,aux oiseaux,du phare,de l'aube,à Cherbourg"
            ",dans la brume,sous la neige,de {P},à {P}"
        ),
    ),
]
