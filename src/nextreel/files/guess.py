"""What a mapping leaves open, guessed from a file's columns and the cells of its first rows; every guess is noted."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress

from nextreel.errors import InputError
from nextreel.events.contract import FIELDS
from nextreel.files.lists import BRACKETS, separator_of
from nextreel.files.mapping import BLANK_WORDS, NAME_FIELDS, Kind, Mapping
from nextreel.files.moments import MomentReader, forms_of
from nextreel.files.numbers import are_thumbs, decimal_of, number_of
from nextreel.files.source import FileFormat, Row

#: What columns of real data sets are called, without blanks, dashes and underscores, by the field they become.
_NAMES: dict[Kind, dict[str, tuple[str, ...]]] = {
    "catalogue": {
        "id": ("id", "showid", "movieid", "titleid", "contentid", "itemid", "imdbid", "tconst", "animeid", "asin",
               "bookid", "const", "idpelicula", "idserie", "idcontenido", "idtitulo"),
        "type": ("type", "kind", "titletype", "contenttype", "tipo"),
        "timestamp": ("timestamp", "updatedat"),
        "titulo": ("title", "titulo", "name", "primarytitle", "originaltitle"),
        "generos": ("genres", "genre", "generos", "listedin", "categories", "genero", "categorias"),
        "directores": ("directors", "director", "directores"),
        "actores": ("cast", "actors", "actores", "stars"),
        "clasificacion": ("agerating", "agecertification", "clasificacion", "rated", "certification", "contentrating",
                          "rating"),
        "decada_lanzamiento": ("releaseyear", "year", "startyear", "decadalanzamiento", "decade", "releasedate"),
        "numero_temporadas": ("seasons", "numberofseasons", "numerotemporadas", "duration"),
        "numero_episodios": ("episodes", "numberofepisodes", "numeroepisodios"),
    },
    "users": {
        "id": ("id", "userid", "customerid", "idusuario", "idcliente"),
        "timestamp": ("timestamp", "updatedat"),
        "nombre_usuario": ("username", "name", "nombreusuario", "login"),
        "fecha_suscripcion": ("subscribedat", "subscriptiondate", "fechasuscripcion", "signupdate", "joined"),
        "generos": ("genres", "favouritegenres", "favoritegenres", "generos"),
        "decadas_favoritas": ("decades", "favouritedecades", "favoritedecades", "decadasfavoritas"),
        "pais": ("country", "pais", "countrycode"),
        "grupo_edad": ("agegroup", "grupoedad", "age"),
    },
    "interactions": {
        "id": ("id", "eventid", "interactionid"),
        "id_usuario": ("userid", "user", "customerid", "idusuario", "profileid", "reviewerid", "username", "accountid",
                       "usuario"),
        "id_contenido": ("contentid", "movieid", "titleid", "itemid", "showid", "idcontenido", "tconst", "const",
                         "imdbid", "tmdbid", "animeid", "asin", "bookid", "isbn", "title", "item", "idpelicula",
                         "idserie", "idtitulo", "pelicula", "titulo"),
        "timestamp": ("timestamp", "time", "date", "datetime", "watchedat", "createdat", "ratedat", "daterated",
                      "watcheddate", "unixreviewtime", "fecha", "fechahora"),
        "evento": ("event", "eventtype", "evento", "action"),
        "calificacion": ("rating", "stars", "calificacion", "score", "yourrating", "overall", "bookrating",
                         "puntuacion", "valoracion", "nota"),
        "porcentaje_visto": ("percentwatched", "progress", "porcentajevisto", "completion"),
        "dispositivo": ("device", "dispositivo", "platform"),
    },
}  # fmt: skip
#: What is taken of a cell where a column is guessed: of a length, the seasons; of an age rating, none that is a length.
_PATTERNS = {
    "numero_temporadas": r"(?i)^(\d+)(?:\.0+)?(?: seasons?)?$",
    "clasificacion": r"(?i)^((?!\d+ min).+)$",
}
#: Whole numbers that were written as 862.0, as pandas does beside blanks; other texts are taken as they are.
_WHOLE_PATTERN = r"(?s)^(.*?)(?:(?<=\d)\.0+)?$"
_WHOLE_FIELDS = ("id", "id_usuario", "id_contenido", "numero_temporadas", "numero_episodios")

#: Moments of a column that are tried against each form.
_MOMENTS = 200
#: A word such as "Unknown" is blank in a field of names if this many of its cells hold it.
_BLANK_SHARE, _BLANK_LEAST = 0.05, 3


def guess_columns(
    file: FileFormat, columns: Sequence[str], rows: Sequence[Row], kind: Kind
) -> tuple[Mapping, list[str]]:
    """Return the mapping that a file's columns and first rows suggest, and notes on it, but for `completed`.

    Raises `InputError` where an id is not among the columns.
    """
    plain = {_plain(column): column for column in reversed(columns)}
    taken: dict[str, str] = {}
    notes = []
    for field, names in _NAMES[kind].items():
        for name in names:
            if (column := plain.get(name)) is None or column in taken.values():
                continue
            texts = [text for text in _texts(rows, column) if text.casefold() not in BLANK_WORDS]
            if name == "duration" and not any("season" in text.casefold() for text in texts):
                continue  # minutes
            if not texts or _FITS.get(field, _any)(texts):
                taken[field] = column
                break
    if kind == "interactions" and "id" in taken and _are_whole(_texts(rows, taken["id"])):
        notes.append(
            f"{taken['id']!r} numbers the rows and may begin again in another file: events' ids are made of what each "
            f"row says; [columns] id = {taken['id']!r} takes it as it is"
        )
        del taken["id"]
    needed = ("id_usuario", "id_contenido") if kind == "interactions" else ("id",)
    if missing := [field for field in needed if field not in taken]:
        raise InputError(_missing(missing[0], columns))
    patterns = {field: text for field, text in _PATTERNS.items() if field in taken}
    return Mapping(columns=taken, file=file, patterns=patterns), notes


def _plain(column: str) -> str:
    """Return a column's name without blanks, dashes, underscores, capitals and accents."""
    letters = unicodedata.normalize("NFKD", re.sub(r"[\s_-]", "", column)).casefold()
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def completed(mapping: Mapping, rows: Sequence[Row], kind: Kind) -> tuple[Mapping, list[str]]:
    """Return a mapping with what it leaves open guessed from a file's first rows, and a note on each guess.

    Raises `InputError` where days and months cannot be told apart.
    """
    changes: dict[str, object] = {}
    notes: list[str] = []
    cells = {field: _values(mapping, rows, field) for field in mapping.columns}
    has_type = "type" in mapping.columns or "type" in mapping.constants or mapping.type.always is not None
    if kind == "catalogue" and not has_type:
        changes["type"] = mapping.type.model_copy(update={"always": "movie"})
        notes.append("no column is the type: every title is a movie ([type] always)")
    if mapping.timestamp is None:
        form = _form(cells.get("timestamp", []))
        changes["timestamp"] = form
        if form != "iso":
            notes.append(f"timestamp: moments are {form!r} (timestamp)")
    if mapping.file.decimal is None:
        numbers = cells.get("calificacion", []) + cells.get("porcentaje_visto", [])
        changes["file"] = mapping.file.model_copy(update={"decimal": decimal_of(numbers)})
        if decimal_of(numbers) == ",":
            notes.append("numbers have a decimal comma ([file] decimal)")
    if mapping.scale is None and are_thumbs(cells.get("calificacion", [])):
        changes["scale"] = "thumbs"
        notes.append("calificacion: thumbs up are 4, down 1 (scale)")
    if mapping.watched_scale is None and _are_shares(cells.get("porcentaje_visto", [])):
        changes["watched_scale"] = (0.0, 1.0)
        notes.append("porcentaje_visto: shares from 0 to 1 become percentages (watched_scale)")
    ruled = mapping.patterns.keys() | mapping.values.keys()
    separators = {
        field: mark
        for field in cells.keys() & _LISTS - ruled - mapping.separators.keys()
        if (mark := separator_of(cells[field])) != ","
    }
    for field, mark in sorted(separators.items()):
        what = "are lists in brackets" if mark == BRACKETS else f"are divided at {mark!r}"
        notes.append(f"{field}: cells {what} ([separators])")
    whole = [f for f in _WHOLE_FIELDS if f in cells.keys() - ruled and _are_whole_floats(cells[f])]
    notes += [f"{f}: whole numbers are written as {_float(cells[f])!r}; '.0' is left out ([patterns])" for f in whole]
    blanks, words = _blanks(mapping, rows)
    notes += words
    guessed = {field: mark if mark == BRACKETS else BRACKETS + mark for field, mark in separators.items()}
    changes["separators"] = guessed | mapping.separators
    changes["patterns"] = dict.fromkeys(whole, _WHOLE_PATTERN) | mapping.patterns
    changes["blanks"] = blanks | mapping.blanks
    return mapping.model_copy(update=changes), notes


def format_notes(said: FileFormat, file: FileFormat) -> list[str]:
    """Return notes on what was guessed of a file's format: what ``said`` leaves open and is not plain CSV in UTF-8."""
    notes = []
    if file.kind not in ("csv", None) and said.kind is None:
        notes.append(f"the file is {file.kind}")
    if said.encoding is None and file.encoding not in ("utf-8", None):
        notes.append(f"the encoding is {file.encoding} ([file] encoding)")
    if file.kind == "csv":
        if said.delimiter is None and file.delimiter != ",":
            notes.append(f"{file.delimiter!r} is between cells ([file] delimiter)")
        if said.quote is None and not file.quote and file.delimiter != "\t":
            notes.append("quotes are part of the texts ([file] quote)")
        if said.escape is None and file.escape:
            notes.append("a backslash escapes quotes ([file] escape)")
    return notes


def header_advice(columns: Sequence[str]) -> str:
    """Return advice where a header seems to be a row of data; "" where it names columns."""
    is_data = re.compile(r"[+-]?\d+([.,]\d+)?|\d+:|\d{4}-\d\d-\d\d.*|\d\d?[/.]\d\d?[/.]\d{2,4}.*")
    if not any(is_data.fullmatch(name) for name in columns):
        return ""
    shown = ", ".join(map(repr, columns[:6]))
    return (
        f"the first row must name the columns, and {shown} look like values. If the file has no header, a mapping says "
        '[file] header = false and names columns by their place: id_usuario = "1"'
    )


def _missing(field: str, columns: Sequence[str]) -> str:
    if advice := header_advice(columns):
        return f"no column looks like {field}: {advice}"
    more = '. A file of one user\'s: [constants] id_usuario = "me"' if field == "id_usuario" else ""
    return f"no column looks like {field}; there are {', '.join(map(repr, columns))}. Say which by --map FILE{more}"


def _texts(rows: Sequence[Row], column: str) -> list[str]:
    """Return a column's cells that are not blank; of a list, its entries."""
    texts: list[str] = []
    for row in rows:
        cell = row.cells.get(column)
        texts += [cell] if isinstance(cell, str) else cell or []
    return [text.strip() for text in texts if text.strip()]


def _values(mapping: Mapping, rows: Sequence[Row], field: str) -> list[str]:
    """Return a field's texts as they are after patterns and exchanges, without blank ones."""
    pattern, exchanged = mapping.patterns.get(field), mapping.values.get(field, {})
    found = []
    for text in _texts(rows, mapping.columns[field]):
        if pattern:
            match = re.search(pattern, text)
            text = (match.group(1) or "").strip() if match else ""
        text = exchanged.get(text, text)
        if not mapping.is_blank(field, text):
            found.append(text)
    return found


def _form(moments: Sequence[str]) -> str:
    """Return how moments are written; "iso" where nothing fits them."""
    distinct = list(dict.fromkeys(moments))[:_MOMENTS]
    forms = forms_of(distinct)
    if len(forms) > 1 and _disagree([MomentReader(form) for form in forms], distinct):
        raise InputError(
            f"moments as {distinct[0]!r} fit {' and '.join(map(repr, forms[:3]))}: say which in the mapping, as "
            f"timestamp = {forms[0]!r}"
        )
    return forms[0] if forms else "iso"


def _disagree(readers: Sequence[MomentReader], moments: Sequence[str]) -> bool:
    """Tell whether two readers read some cell as different moments."""
    for text in moments:
        read = set()
        for reader in readers:
            with suppress(ValueError, OverflowError, OSError):
                read.add(reader.read(text))
        if len(read) > 1:
            return True
    return False


def _blanks(mapping: Mapping, rows: Sequence[Row]) -> tuple[dict[str, list[str]], list[str]]:
    """Return words that are blank in fields of names, because many cells hold them, and notes."""
    blanks: dict[str, list[str]] = {}
    notes = []
    for field in mapping.columns.keys() & (NAME_FIELDS - {"id", "id_usuario", "id_contenido"}):
        if mapping.blank is not None or field in mapping.blanks:
            continue
        texts = [text.casefold() for text in _texts(rows, mapping.columns[field])]
        often = max(_BLANK_LEAST, _BLANK_SHARE * len(texts))
        if words := [word for word in BLANK_WORDS if word and texts.count(word) >= often]:
            blanks[field] = [
                "",
                "n/a",
                "nan",
                "null",
                "\\n",
                *(w for w in words if w not in ("n/a", "nan", "null", "\\n")),
            ]
            notes.append(f"{field}: {', '.join(map(repr, words))} mean that nothing is there ([blanks])")
    return blanks, notes


def _any(texts: Sequence[str]) -> bool:
    return True


def _are_words(texts: Sequence[str]) -> bool:
    numbers = sum(re.fullmatch(r"[+-]?\d+([.,]\d+)?", text) is not None for text in texts)
    return numbers * 2 < len(texts)


def _are_seasons(texts: Sequence[str]) -> bool:
    return any(re.search(_PATTERNS["numero_temporadas"], text) for text in texts)


def _have_digits(texts: Sequence[str]) -> bool:
    return any(re.search(r"\d", text) for text in texts)


def _are_ratings(texts: Sequence[str]) -> bool:
    return are_thumbs(texts) or any(number_of(text, ",") == number_of(text, ",") for text in texts)


_FITS: dict[str, Callable[[Sequence[str]], bool]] = {
    "clasificacion": _are_words,
    "actores": _are_words,
    "directores": _are_words,
    "generos": _any,
    "numero_temporadas": _are_seasons,
    "decada_lanzamiento": _have_digits,
    "timestamp": _have_digits,
    "calificacion": _are_ratings,
}
_LISTS = frozenset(field.name for field in FIELDS if field.kind == "strings")


def _are_whole(texts: Sequence[str]) -> bool:
    return bool(texts) and all(re.fullmatch(r"\d{1,12}(\.0+)?", text) for text in texts)


def _are_whole_floats(texts: Sequence[str]) -> bool:
    return _are_whole(texts) and any("." in text for text in texts)


def _float(texts: Sequence[str]) -> str:
    return next(text for text in texts if "." in text)


def _are_shares(texts: Sequence[str]) -> bool:
    numbers = [number_of(text, ",") for text in texts if "%" not in text]
    return bool(numbers) and all(0 <= n <= 1 for n in numbers) and any(0 < n < 1 for n in numbers)
