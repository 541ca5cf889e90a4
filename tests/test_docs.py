"""The docs name tests, files, variables and commands that exist, and show what the code says."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dehedge.cli import app
from dehedge.config import Settings
from dehedge.core.invariants import Law
from dehedge.metrics import INVARIANTS_BROKEN
from dehedge.ports import Connector
from tests.configuration_page import PAGE as CONFIGURATION
from tests.configuration_page import list_rows, render_page
from tests.mutation import CORE, MODULES, read_counts, read_explained
from tests.simulation.faults import FAULTS

ROOT = Path(__file__).parents[1]
DOCS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
TESTS = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests").rglob("test_*.py")))


def test_docs_name_tests_that_exist():
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs/promises.md").read_text(encoding="utf-8"))

    assert len(named) > 30
    assert [name for name in named if f"def {name}(" not in TESTS] == []


def test_promises_page_has_every_law_with_its_label_in_the_metrics():
    text = (ROOT / "docs/promises.md").read_text(encoding="utf-8")
    labels = {sample.labels["law"] for family in INVARIANTS_BROKEN.collect() for sample in family.samples}

    assert labels == {law.name.lower() for law in Law}
    assert [law.value for law in Law if f"\n| {law.value} | `{law.name.lower()}` |" not in text] == []


def test_promises_page_has_every_fault_of_the_simulation():
    text = (ROOT / "docs/promises.md").read_text(encoding="utf-8")
    acts = {act.__name__.replace("_", " ") for acts in FAULTS.values() for act in acts}

    assert [act for act in sorted(acts) if act not in text] == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_docs_link_and_name_files_that_exist(path: Path):
    text = path.read_text(encoding="utf-8")
    links = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text)]
    missing = [link for link in links if link and not link.startswith("http") and not (path.parent / link).exists()]
    modules = re.findall(r"`((?:core|adapters|connectors)/[\w/]+\.py|\w+\.py)`", text)
    missing += [name for name in modules if not (ROOT / "src/dehedge" / name).exists()]

    assert missing == []


def test_operating_page_lists_every_command():
    text = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    commands = [command.name or command.callback.__name__ for command in app.registered_commands]

    assert [name for name in commands if not re.search(rf"`dehedge {name}\b", text)] == []


def test_configuration_page_is_what_the_settings_say():
    text = CONFIGURATION.read_text(encoding="utf-8")
    purposes = list_rows(text)

    assert sorted(purposes) == sorted(name.upper() for name in Settings.model_fields)
    assert [name for name, purpose in purposes.items() if not purpose.strip()] == []
    assert render_page(text) == text, "run python -m tests.configuration_page"


def test_connector_page_shows_code_of_the_example():
    page = (ROOT / "docs/connectors.md").read_text(encoding="utf-8")
    example = (ROOT / "tests/connectors/example.py").read_text(encoding="utf-8")
    shown = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    methods = [name for name, _ in inspect.getmembers(Connector, inspect.isfunction) if not name.startswith("_")]

    assert shown
    assert [code for code in shown if code not in example] == []
    assert [name for name in methods if f"def {name}(" not in example] == []


def test_site_has_every_page_once():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    pages = sorted(path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md"))

    assert sorted(list_pages(site["nav"])) == pages


def list_pages(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from list_pages(entry)


def test_site_asks_no_other_host():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    scripts = site["extra"]["polyfills"]

    assert site["theme"]["font"] is False
    assert site["plugins"] == ["search", "offline"]
    assert [script for script in scripts if not (ROOT / "docs" / script).exists()] == []
    assert "//" not in str({name: value for name, value in site.items() if name != "nav"})


def test_mutation_page_explains_code_that_is_there():
    explained = read_explained()
    sources = {path.stem: " ".join(path.read_text(encoding="utf-8").split()) for path in CORE.glob("*.py")}

    assert len(explained) == (ROOT / "docs/mutation.md").read_text(encoding="utf-8").count("\n| `core/")
    assert [name for name in explained if name[2].partition(" → ")[0] not in sources[name[0]]] == []


def test_mutation_page_counts_every_mutant_of_the_modules_that_it_claims():
    counts = read_counts()

    assert {"risk", "sizing", "orders", "hedging"} <= counts.keys() <= {*MODULES}
    assert all(mutants == killed + explained for mutants, killed, explained in counts.values())
    assert {module for module, _, _ in read_explained()} == {name for name, (_, _, count) in counts.items() if count}
