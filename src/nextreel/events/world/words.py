"""The words that the names of fictional people, of users and of places are made of.

Surnames and places are a front and a back. No list of surnames holds a real person's on purpose.
"""

from typing import Final, NamedTuple


class Culture(NamedTuple):
    """Given names, and the fronts and backs of surnames; ``share`` is its share of the people."""

    share: float
    given: list[str]
    fronts: list[str]
    backs: list[str]


def _words(text: str) -> list[str]:
    return text.split()


def _phrases(text: str) -> list[str]:
    return text.split(",")


CULTURES: Final = [
    Culture(
        0.32,
        given=_words(
            "Ada Alden Audrey Beatrix Calvin Clara Clement Cordelia Desmond Edith Elliot Esme Felix Flora"
            " Gideon Greta Harlan Hazel Hugo Imogen Iris Jasper Josie Judith Leland Lionel Mabel Maeve"
            " Miles Nell Orla Otis Percy Phoebe Quentin Rosalind Rufus Silas Tess Theodore Una Violet"
            " Walter Wendell Willa Winifred"
        ),
        fronts=_words(
            "Ash Black Bram Cald Dray Elm Fair Gar Hal Hart Hol Kel Lang Mar Nor Oak Pem Rad Stan Thorn Wex"
            " Whit Win Yar"
        ),
        backs=_words(
            "borne brook bury combe croft dale ford grave ham hurst ley low more mott shaw stead ton wick worth"
        ),
    ),
    Culture(
        0.2,
        given=_words(
            "Álvaro Amparo Begoña Belén Bruno Carmela Consuelo Damián Dolores Elvira Emilio Esteban Fermín"
            " Gonzalo Inés Íñigo Irene Jacinto Jimena Joaquín Leandro Lucía Marisol Mateo Nuria Octavio"
            " Paloma Pilar Ramiro Rocío Rosario Soledad Tomás Ulises Valeria Ximena"
        ),
        fronts=_words("Al Ar Bal Bel Cal Can Cas Gal Lan Mon Mor Nar Oli Pal Quin Sal Tor Val Vil Zar"),
        backs=_words(
            "barán cedo cueva dívar lagos lera manza mosa queda rada rebla ruega tajo tierra varro verra zola zuela"
        ),
    ),
    Culture(
        0.14,
        given=_words(
            "Adèle Aurélie Bastien Camille Céleste Claudine Édouard Fabrice Florian Gaspard Ginevra Hélène"
            " Ilaria Jocelyn Léonie Lorenzo Luc Margot Mathis Noémie Odile Pascal Raphaël Rémy Solène"
            " Sylvie Théo Ubaldo Vittoria Yannick"
        ),
        fronts=_words("Aube Beau Bel Cham Char Clair Cor Dor Fon Gran Lam Mar Mont Pel Roche Sau Tour Val"),
        backs=_words(
            "bert champ court delle fleur fort gnac lière nelli nier pré rivière sac telli tier valle vert ville"
        ),
    ),
    Culture(
        0.09,
        given=_words(
            "Aksel Astrid Birgitta Bjørn Dagny Eirik Freja Gudrun Gunnar Håkon Inga Jorunn Kjersti Leif Liv"
            " Magnus Maren Nils Olav Ragna Signe Solveig Sten Sunniva Torvald Tuva Ylva"
        ),
        fronts=_words("Ald Berg Dal Ek Fjell Grøn Hav Holm Kval Lind Lund Nord Ryd Sand Sol Strand Vest Øst"),
        backs=_words("blad dahl fors gren gård haug hjelm kvist mark moe rud stad strøm tveit vik vold"),
    ),
    Culture(
        0.08,
        given=_words(
            "Agnieszka Bogdan Danica Dragan Dušan Ewa Halina Ivo Jarek Kazimir Ljuba Luděk Milena Miroslav"
            " Nadia Oksana Pavel Radek Svetlana Tereza Vesna Wanda Yaroslav Zdenka Zoran"
        ),
        fronts=_words("Bor Bran Dov Gor Jas Kal Kov Lesk Mal Nov Prok Rad Sok Tar Vel Wol Zab Zel"),
        backs=_words("anek arczyk atko avec ecký enko etić icki idze inek oniak osz ovan ubić ushka"),
    ),
    Culture(
        0.06,
        given=_words(
            "Akemi Daichi Emi Haruto Hina Isamu Kaori Kenta Makoto Mio Naoki Reiko Ren Sayuri Shun Takeo"
            " Tomoe Yui Yuzuki"
        ),
        fronts=_words("Aki Asa Fuji Hana Hoshi Kawa Kuro Matsu Mina Naka Shima Taka Toki Yama Yoshi"),
        backs=_words("bashi date gata hara hisa ishi kura mori naga nishi saki shiro ta tani zawa"),
    ),
    Culture(
        0.05,
        given=_words(
            "Aarav Anika Bhavna Devika Farhan Ishaan Kavya Lakshmi Meera Naveen Nikhil Rohan Sanjana Tariq"
            " Usha Vikram Zoya"
        ),
        fronts=_words("Bhar Chand Dev Gan Har Jay Kul Mah Nar Prab Ran Sub Tej Vas Yog"),
        backs=_words("adhar akar anand appan endra eswar ikar indran ishan uji ulkar umati upal ushan"),
    ),
    Culture(
        0.03,
        given=_words(
            "Abena Adisa Amara Ayodele Chidi Efua Folami Ifeoma Jabari Kofi Kwame Lerato Makena Olumide"
            " Sade Thandi Zuri"
        ),
        fronts=_words("Ade Aki Bam Chi Eke Ife Kwa Ndi Oba Oke Olu Uche"),
        backs=_words("bayo bola dele fola gbade kunle mensa sanya tola wale yemi"),
    ),
    Culture(
        0.03,
        given=_words(
            "Amir Aylin Dariush Emre Farah Idris Jamila Karim Laila Nadim Parisa Rania Samir Selin Tarek Yasmin Zeynep"
        ),
        fronts=_words("Bay Demir Has Jab Kara Mans Naj Ozd Rah Sab Shir Taw Zand"),
        backs=_words("abadi aoui beyli eddine emir gari ouri ozan pour yazici zadeh"),
    ),
]

PLACE_FRONTS: Final = _words(
    "Alder Black Briar Cold Crow Elk Fallow Grey Harrow Iron Juniper Lantern Marrow Raven Stone"
)
PLACE_BACKS: Final = _words("bridge cliff ferry field gate haven hollow holt mere moor port ridge water")
CITIES: Final = _phrases(
    "Lisbon,Kyoto,Havana,Trieste,Odessa,Tangier,Valparaíso,Bilbao,Tbilisi,Marseille,Cádiz,Naples,Montreal"
    ",Galway,Zanzibar,Oaxaca,Reykjavík,Kraków,Savannah,Santa Fe,Buenos Aires,Porto,Malmö,Cartagena,Bergen"
)

HANDLE_FRONTS: Final = _words(
    "amber binge blue cosmic couch dusty fuzzy happy indie late lazy lunar mellow midnight neon popcorn"
    " quiet rainy retro salty sleepy sunny tiny velvet"
)
HANDLE_BACKS: Final = _words(
    "badger cactus cinephile comet falcon fan fox gecko koala lemon llama moth noodle otter owl panda pixel"
    " pretzel raven robot sofa tiger turtle watcher"
)
