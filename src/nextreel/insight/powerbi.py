"""The Power BI project: semantic model and report as text, generated from the star, the metrics and the views.

Power BI Desktop opens ``nextreel.pbip`` and reads the exports on Refresh, from the folder that the parameter DataFolder
names. The same settings make the same files.
"""

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


def write_project(folder: Path, data: str) -> Path:
    """Write the project and return its .pbip; files of an earlier one that it does not have any more go."""
    files = project_files(data)
    for part in ("SemanticModel", "Report"):
        for old in (folder / f"{NAME}.{part}" / "definition").rglob("*"):
            if old.is_file() and old.relative_to(folder).as_posix() not in files:
                old.unlink()
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        write_text(folder / path, text)
    return folder / f"{NAME}.pbip"


def read_project(folder: Path) -> dict[str, str]:
    """Return the files of a project, by their paths in it. Raises `SettingsError` where there is none."""
    if not (folder / f"{NAME}.pbip").is_file():
        raise SettingsError(f"there is no {NAME}.pbip in {folder}: nextreel powerbi writes one")
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes().decode("utf-8") for path in paths}


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
