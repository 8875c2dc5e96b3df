"""The Power BI project: semantic model and report as text, generated from the star, the metrics and the views.

Power BI Desktop opens ``nextreel.pbip`` and reads the exports on Refresh, from the folder that the parameter DataFolder
names. The same settings make the same files.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nextreel.durable import write_text
from nextreel.errors import SettingsError
from nextreel.insight.pbir import report_files
from nextreel.insight.tmdl import model_files

NAME = "nextreel"
#: What was written last, with digests: what else is in the folder is not ours.
_OURS = f"{NAME}.files.json"
_TEXTS = {".tmdl", ".json", ".pbism", ".pbir"}
_SCHEMAS = "https://developer.microsoft.com/json-schemas/fabric"


def project_files(data: str) -> dict[str, str]:
    """Return all files of the project, by their paths in it. ``data`` is the folder of the exported star."""
    model, report = f"{NAME}.SemanticModel", f"{NAME}.Report"
    found = {f"{model}/definition/{path}": text for path, text in model_files(_with_end(data)).items()}
    found |= {f"{report}/definition/{path}": _json(content) for path, content in report_files().items()}
    return found | {
        f"{NAME}.pbip": _json(
            {
                "$schema": f"{_SCHEMAS}/pbip/pbipProperties/1.0.0/schema.json",
                "version": "1.0",
                "artifacts": [{"report": {"path": report}}],
                "settings": {"enableAutoRecovery": True},
            }
        ),
        f"{model}/.platform": _platform("SemanticModel"),
        f"{model}/definition.pbism": _json(
            {
                "$schema": f"{_SCHEMAS}/item/semanticModel/definitionProperties/1.0.0/schema.json",
                "version": "4.2",
                "settings": {},
            }
        ),
        f"{report}/.platform": _platform("Report"),
        f"{report}/definition.pbir": _json(
            {
                "$schema": f"{_SCHEMAS}/item/report/definitionProperties/2.0.0/schema.json",
                "version": "4.0",
                "datasetReference": {"byPath": {"path": f"../{model}"}},
            }
        ),
    }


def write_project(folder: Path, data: str, overwrite: bool = False) -> Path:
    """Write the project and return its .pbip. Of an earlier one, files that it does not have any more go.

    Files that others have put there stay. Raises `SettingsError`, before anything is written, for a folder of data that
    cannot be one, where there is something in the way, and, unless it may ``overwrite``, where a file to be written
    was changed since, or is not ours.
    """
    if not data.strip() or not data.isprintable():
        raise SettingsError(f"the folder of the data is {data!r}: it must be a path, on one line")
    files = project_files(data)
    before = _written(folder)
    for path in (folder, *(folder / parent for file in files for parent in reversed(Path(file).parents))):
        if path.exists() and not path.is_dir():
            raise SettingsError(f"{path} is in the way: it is no folder")
    changed = [path for path in sorted({*files, *before}) if _is_changed(folder / path, before.get(path))]
    if changed and not overwrite:
        others = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise SettingsError(
            f"{folder / changed[0]}{others} would be lost: changed since nextreel wrote it, or never written by it. "
            "Choose another --output, or --overwrite."
        )
    for old in before.keys() - files.keys():
        (folder / old).unlink(missing_ok=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_text(folder / name, text)
    write_text(folder / _OURS, _json({path: _digest(text.encode()) for path, text in sorted(files.items())}))
    return folder / f"{NAME}.pbip"


def read_project(folder: Path) -> dict[str, str]:
    """Return the files of a project's model and report, by their paths in it; what Power BI keeps beside is left out.

    Raises `SettingsError` where there is none, and where one is no text.
    """
    if not (folder / f"{NAME}.pbip").is_file():
        raise SettingsError(f"there is no {NAME}.pbip in {folder}: nextreel powerbi writes one")
    paths = [folder / f"{NAME}.pbip"]
    for part in ("SemanticModel", "Report"):
        inside = (folder / f"{NAME}.{part}").rglob("*")
        paths += [path for path in inside if path.suffix in _TEXTS or path.name == ".platform"]
    found = {}
    for path in paths:
        try:
            found[path.relative_to(folder).as_posix()] = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise SettingsError(f"{path} is no text in UTF-8: {error.reason} at byte {error.start}") from None
    return found


def _written(folder: Path) -> dict[str, str]:
    """Return what an earlier one was written as: each file's digest, by its path."""
    try:
        found = json.loads((folder / _OURS).read_bytes())
    except (OSError, ValueError):
        return {}
    return {path: str(digest) for path, digest in found.items() if _is_inside(path)} if isinstance(found, dict) else {}


def _is_inside(path: str) -> bool:
    return not Path(path).is_absolute() and ".." not in Path(path).parts


def _is_changed(path: Path, written: str | None) -> bool:
    try:
        return _digest(path.read_bytes()) != written
    except FileNotFoundError:
        return False


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _with_end(data: str) -> str:
    """Return a folder with what ends it: names of files are put behind it."""
    if data.endswith(("/", "\\")):
        return data
    return data + ("\\" if "\\" in data else "/")


def _platform(kind: str) -> str:
    return _json(
        {
            "$schema": f"{_SCHEMAS}/gitIntegration/platformProperties/2.0.0/schema.json",
            "metadata": {"type": kind, "displayName": NAME},
            "config": {"version": "2.0", "logicalId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{NAME}/{kind}"))},
        }
    )


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
