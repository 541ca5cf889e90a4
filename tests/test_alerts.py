"""Every alert fires on the series that it is there for and on no others, exists in the runbook, and names what there is.

The expressions are evaluated by ``tests/promql.py``, and by promtool as well where that is on the machine.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import promql_parser
import pytest
import yaml

from tests import promql
from tests.test_metrics import read_catalog

ROOT = Path(__file__).parents[1]
RULES = ROOT / "deploy/prometheus/alerts.yml"
RUNBOOK = ROOT / "docs/runbook.md"
DASHBOARD = ROOT / "deploy/grafana/dehedge.json"
UNTIL_S = 1_800
PROMTOOL = shutil.which("promtool")

DAEMON = 'instance="a:1", job="dehedge"'


class Case(NamedTuple):
    """Series by their names without the daemon's labels, on which an alert fires, and such on which it does not."""

    firing: dict[str, str]
    quiet: tuple[dict[str, str], ...]


def a_gauge(name: str, bad: str, good: str, *passing: str) -> Case:
    """Fires while the series is bad; not when it is good, and not when it was bad in passing (``passing``)."""
    return Case({name: f"{bad}x120"}, ({name: f"{good}x120"}, {}, *({name: text} for text in passing)))


def a_counter(name: str, growing: str, *quiet: str) -> Case:
    return Case({name: growing}, ({name: "7x120"}, {}, *({name: text} for text in quiet)))


ACTIVE = 'dehedge_trading_mode{mode="active"}'
WANTED, HEDGED = "dehedge_portfolio_wanted_ratio", "dehedge_portfolio_hedged_ratio"
FEE_USED, FEE_LIMIT = (f'dehedge_guard_{word}{{guard="fee_limit", scope="all"}}' for word in ("used", "limit"))
SECONDS = "dehedge_journal_append_seconds_"
CASES = {
    "DehedgeDown": Case(
        {"up": "0x120"}, ({"up": "1x120", "dehedge_ready": "0x120"}, {"up": "1x115 0x4", "dehedge_ready": "1x120"})
    ),
    "DehedgeNoProgress": a_gauge("dehedge_alive", "0", "1", "1x119 0x0"),
    "DehedgeNotReady": Case(
        {"dehedge_ready": "0x120", ACTIVE: "1x120"},
        (
            {"dehedge_ready": "0x120", ACTIVE: "0x120"},
            {"dehedge_ready": "1x120", ACTIVE: "1x120"},
            {"dehedge_ready": "1x114 0x5", ACTIVE: "1x120"},
        ),
    ),
    "DehedgeRestarting": a_gauge("dehedge_start_time_seconds", "100x70 200x10 300x10 400", "100", "100x70 200x10 300x40"),
    "DehedgeInvariantBroken": a_counter('dehedge_invariants_broken_total{law="step"}', "0x60 1x60"),
    "DehedgeKillSwitchNotActive": a_gauge(ACTIVE, "0", "1", "1x90 0x30"),
    "DehedgeJournalSlow": Case(
        {f"{SECONDS}sum": "0+4x120", f"{SECONDS}count": "0+10x120"},
        (
            {f"{SECONDS}sum": "0+1x120", f"{SECONDS}count": "0+10x120"},
            {f"{SECONDS}sum": "5x120", f"{SECONDS}count": "9x120"},
        ),
    ),
    "DehedgeNotificationsFailing": a_counter(  # As the outbox tries again: later and later, then every ten minutes.
        'dehedge_notifications_total{outcome="failed"}', "0 1 2x2 3x3 4x7 5x15 6x31 7x40 8x15", "0x60 1x10 2x50", "0x119 1"
    ),
    "DehedgeHeartbeatFailing": a_counter('dehedge_heartbeats_total{outcome="failed"}', "0x80 0+1x40", "0x100 1x20"),
    "DehedgeFeedDown": a_gauge('dehedge_feed_up{feed="prices"}', "0", "1", "1x118 0x1"),
    "DehedgeSnapshotStale": a_gauge("dehedge_snapshot_fresh", "0", "1", "1x118 0x1"),
    "DehedgePriceStale": a_gauge('dehedge_price_fresh{market="BTC-USD"}', "0", "1", "1x118 0x1"),
    "DehedgeMarkStale": a_gauge('dehedge_mark_fresh{symbol="BTCUSDT"}', "0", "1", "1x118 0x1"),
    "DehedgeStreamDown": a_gauge('dehedge_stream_up{stream="account"}', "0", "1", "1x110 0x10"),
    "DehedgeSnapshotsDisagree": a_counter("dehedge_snapshot_disagreements_total", "0x80 0+1x40", "0x100 1x20"),
    "DehedgeRiskUnhedged": a_gauge('dehedge_positions_unhedged{market="BTC-USD"}', "2", "0", "0x114 2x5"),
    "DehedgePortfolioUnhedged": Case(
        {WANTED: "1x120", HEDGED: "0.2x120"},
        ({WANTED: "1x120", HEDGED: "0.8x120"}, {WANTED: "0x120", HEDGED: "1x120"}, {WANTED: "0x117 1x2", HEDGED: "0x120"}),
    ),
    "DehedgeHedgeRejected": a_gauge('dehedge_orders_refused_in_a_row{symbol="BTCUSDT"}', "3", "2", "0x119 3"),
    "DehedgeOrderUnknown": a_gauge("dehedge_oldest_order_age_seconds", "61", "0", "30x120"),
    "DehedgeHedgeForced": a_counter(
        'dehedge_hedge_changes_total{kind="hedge_forced", market="BTC-USD"}', "0x60 1x60"
    ),
    "DehedgeGuardHolding": a_gauge('dehedge_guard_held{guard="opens_limit", scope="all"}', "1", "0", "0x105 1x14"),
    "DehedgeFeeBudgetSpent": Case(
        {FEE_USED: "90x120", FEE_LIMIT: "100x120"},
        ({FEE_USED: "89x120", FEE_LIMIT: "100x120"}, {FEE_LIMIT: "100x120"}),
    ),
    "DehedgeExchangeDown": a_gauge("dehedge_exchange_up", "0", "1", "1x114 0x5"),
    "DehedgeKeyRefused": a_gauge("dehedge_key_refused", "1", "0"),
    "DehedgeAccountDiffers": a_gauge('dehedge_account_differs{symbol="BTCUSDT"}', "1", "0"),
    "DehedgeSymbolBlocked": Case(
        {'dehedge_symbol_blocked{symbol="BTCUSDT"}': "1x120", 'dehedge_account_differs{symbol="BTCUSDT"}': "0x120"},
        (
            {'dehedge_symbol_blocked{symbol="BTCUSDT"}': "1x120", 'dehedge_account_differs{symbol="BTCUSDT"}': "1x120"},
            {'dehedge_symbol_blocked{symbol="BTCUSDT"}': "0x120"},
        ),
    ),
    "DehedgeMarginLow": a_gauge('dehedge_margin_low{asset="USDT"}', "1", "0", "0x118 1x1"),
    "DehedgeLiquidationNear": a_gauge('dehedge_liquidation_distance_bps{symbol="BTCUSDT"}', "149", "150"),
    "DehedgeRateLimitNear": Case(
        {'dehedge_rate_limit_used{limit="orders", window="10S"}': "240x120", 'dehedge_rate_limit_max{limit="orders", window="10S"}': "300x120"},
        ({'dehedge_rate_limit_used{limit="orders", window="10S"}': "225x120", 'dehedge_rate_limit_max{limit="orders", window="10S"}': "300x120"},),
    ),
    "DehedgeRequestsPaused": a_gauge("dehedge_requests_paused_seconds", "60", "0"),
    "DehedgeOtherDaemon": a_gauge("dehedge_other_daemons", "1", "0"),
}  # fmt: skip


def read_rules() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    return {rule["alert"]: rule for rule in rules}


ALERTS = read_rules()


def name_series(name: str, daemon: str = DAEMON) -> str:
    return f"{name[:-1]}, {daemon}}}" if name.endswith("}") else f"{name}{{{daemon}}}"


def get_for_s(rule: dict[str, Any]) -> int:
    return int(promql_parser.parse_duration(rule["for"]).total_seconds()) if "for" in rule else 0


def evaluate(alert: str, series: dict[str, str]) -> set[promql.Labels]:
    named = {promql.parse_series(name_series(name)): promql.parse_samples(text) for name, text in series.items()}
    rule = ALERTS[alert]
    return promql.find_firing(promql.Database(named), rule["expr"], get_for_s(rule), UNTIL_S)


def find_names(expression: str) -> set[str]:
    """Every metric of an expression that may be parsed."""
    names: set[str] = set()

    def note(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            names.add(node.name)
        return True

    promql_parser.walk(promql_parser.parse(expression), note)
    return names


def find_unknown(names: set[str]) -> set[str]:
    known = {"up"}
    for name, (kind, _, _) in read_catalog().items():
        known |= {f"{name}_sum", f"{name}_count", f"{name}_bucket"} if kind == "histogram" else {name}
    return names - known


def test_every_alert_is_tried():
    assert CASES.keys() == ALERTS.keys()


@pytest.mark.parametrize("alert", CASES)
def test_alert_fires_on_what_it_is_there_for(alert: str):
    assert len(evaluate(alert, CASES[alert].firing)) == 1


@pytest.mark.parametrize("alert", CASES)
def test_alert_is_quiet_on_everything_else(alert: str):
    quiet = CASES[alert].quiet

    assert [series for series in quiet if evaluate(alert, series)] == []


def test_alert_of_a_daemon_that_is_gone_fires_without_any_series():
    assert len(evaluate("DehedgeDown", {})) == 1


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_names_metrics_and_labels_that_exist(alert: str):
    rule, catalog = ALERTS[alert], read_catalog()
    names = find_names(rule["expr"])

    assert find_unknown(names) == set()
    used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    assert used <= {"instance"}.union(*(catalog[name][2] for name in names if name in catalog))


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_says_what_it_is_and_links_its_section_of_the_runbook(alert: str):
    rule = ALERTS[alert]

    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{alert.lower()}"


def test_runbook_has_a_section_with_cause_and_remedy_for_every_alert_and_no_other():
    sections = re.split(r"^## ", RUNBOOK.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    titles = [section.partition("\n")[0].strip() for section in sections]

    assert [title for title in titles if title.startswith("Dehedge")] == list(ALERTS)
    assert [
        title
        for title, section in zip(titles, sections, strict=True)
        if title in ALERTS and not ("**Cause.**" in section and "**Remedy.**" in section)
    ] == []


def list_panels(panels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [found for panel in panels for found in [panel, *list_panels(panel.get("panels", []))]]


def test_dashboard_asks_for_metrics_that_exist_from_the_source_that_is_chosen():
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = [panel for panel in list_panels(board["panels"]) if panel["type"] != "row"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    (source,) = [variable for variable in board["templating"]["list"] if variable["type"] == "datasource"]

    assert source["query"] == "prometheus"
    assert len(panels) >= 16
    assert all(panel["targets"] for panel in panels)
    wanted = {"type": "prometheus", "uid": f"${{{source['name']}}}"}
    assert all(each["datasource"] == wanted for panel in panels for each in [panel, *panel["targets"]])
    queries = [variable["query"]["query"] for variable in board["templating"]["list"] if variable["type"] == "query"]
    asked = {name for query in queries for name in re.findall(r"dehedge_\w+", query)}
    plain = [expression.replace("$__rate_interval", "5m").replace("$__range", "1h") for expression in expressions]
    assert find_unknown(asked.union(*map(find_names, plain))) == set()
    assert [text for text in expressions if 'instance=~"$instance"' not in text] == []


def test_dashboard_has_what_grafana_needs_to_load_it():
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = list_panels(board["panels"])
    places = [panel["gridPos"] for panel in panels]

    assert board["uid"] == "dehedge"
    assert "id" not in board or board["id"] is None, "an id would overwrite another dashboard"
    assert isinstance(board["schemaVersion"], int)
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {panel["type"] for panel in panels} <= {"row", "stat", "timeseries", "table", "bargauge"}
    assert all(panel["title"] for panel in panels)
    assert all(place.keys() == {"h", "w", "x", "y"} and place["x"] + place["w"] <= 24 for place in places)
    cells = [(place["x"] + x, place["y"] + y) for place in places for x in range(place["w"]) for y in range(place["h"])]
    assert len(cells) == len(set(cells)), "panels overlap"


def test_metrics_of_the_catalog_are_in_an_alert_or_on_the_dashboard():
    """But for those that are there to look things up."""
    board = DASHBOARD.read_text(encoding="utf-8")
    told = RULES.read_text(encoding="utf-8") + board
    looked_up = {name for name in read_catalog() if name.startswith("dehedge_process_")}

    assert [name for name in read_catalog() if name not in told and name not in looked_up] == []


def build_promtool_tests() -> dict[str, Any]:
    """All cases as promtool's own tests: how many of each alert fire in the end."""
    tests = []
    for alert, case in CASES.items():
        for series, count in [(case.firing, 1), *((quiet, 0) for quiet in case.quiet)]:
            given = series or {"unrelated": "0x120"}
            firing = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
            tests.append(
                {
                    "interval": f"{promql.STEP_S}s",
                    "input_series": [{"series": name_series(name), "values": text} for name, text in given.items()],
                    "promql_expr_test": [
                        {
                            "expr": firing,
                            "eval_time": f"{UNTIL_S}s",
                            "exp_samples": [{"labels": "{}", "value": count}] if count else [],
                        }
                    ],
                }
            )
    return {"rule_files": [str(RULES)], "evaluation_interval": f"{promql.STEP_S}s", "tests": tests}


@pytest.mark.timeout(240)
@pytest.mark.skipif(PROMTOOL is None, reason="no promtool on this machine")
def test_promtool_is_of_the_same_opinion(tmp_path: Path):
    assert PROMTOOL is not None
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(build_promtool_tests()))

    for words in (["check", "rules", str(RULES)], ["test", "rules", str(tmp_path / "tests.yml")]):
        done = subprocess.run([PROMTOOL, *words], capture_output=True, text=True, timeout=110, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
