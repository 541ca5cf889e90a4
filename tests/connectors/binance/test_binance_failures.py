"""The verdicts: what a status and a code say of a write and of a read."""

from __future__ import annotations

import pytest

from dehedge.connectors.binance.failures import (
    BAN_S,
    CODES,
    FIREWALL_S,
    PAUSE_MAX_S,
    REMEDIES,
    Failure,
    RequestRefused,
    Verdict,
    build_read_error,
    build_write_error,
    classify,
    get_pause_s,
)
from dehedge.errors import (
    AuthenticationFailed,
    OrderRejected,
    OrderTooLarge,
    OutcomeUnknown,
    RateLimited,
    VenueUnavailable,
)

UNKNOWN_ERROR = "Unknown error, please check your request or try again later."

WRITES = [
    (503, -1000, UNKNOWN_ERROR, OutcomeUnknown),
    (503, 0, UNKNOWN_ERROR, OutcomeUnknown),
    (503, 0, "Service Unavailable.", VenueUnavailable),
    (503, -1008, "Request throttled by system-level protection.", RateLimited),
    (503, -1001, "Internal error; unable to process your request. Please try again.", OutcomeUnknown),
    (400, -1001, "Internal error", OutcomeUnknown),
    (408, -1007, "Timeout", OutcomeUnknown),
    (408, 0, "", OutcomeUnknown),
    (400, -1006, "Execution status unknown.", OutcomeUnknown),
    (400, -1000, "Unknown", OutcomeUnknown),
    (502, 0, "the reply was not JSON", OutcomeUnknown),
    (500, 0, "", OutcomeUnknown),
    (504, 0, "", OutcomeUnknown),
    (0, 0, "ServerDisconnectedError", OutcomeUnknown),
    (200, 0, "the reply was empty or no object", OutcomeUnknown),
    (302, 0, "", OutcomeUnknown),
    (404, 0, "the reply was not JSON", OutcomeUnknown),
    (429, -1003, "Too many requests", RateLimited),
    (429, 0, "", RateLimited),
    (418, -1003, "banned until 1795346298000", RateLimited),
    (403, 0, "the reply was not JSON", RateLimited),
    (400, -1015, "Too many new orders", RateLimited),
    (400, -1021, "Timestamp", OrderRejected),
    (400, -5028, "Timestamp", OrderRejected),
    (400, -2019, "Margin is insufficient.", OrderTooLarge),
    (400, -2022, "ReduceOnly Order is rejected.", OrderRejected),
    (400, -4164, "notional", OrderRejected),
    (400, -9999, "a code of tomorrow", OrderRejected),
    (200, -2019, "Margin is insufficient.", OrderTooLarge),
    (200, -9999, "a code of tomorrow", OutcomeUnknown),
    (503, -2019, "Margin is insufficient.", OutcomeUnknown),
    (400, -4116, "ClientOrderId is duplicated.", OutcomeUnknown),
    (401, -2015, "Invalid API-key, IP, or permissions for action.", AuthenticationFailed),
    (401, 0, "", AuthenticationFailed),
    (400, -1022, "Signature for this request is not valid.", AuthenticationFailed),
    (400, -2014, "API-key format invalid.", AuthenticationFailed),
    (400, -2017, "API Keys are locked on this account.", AuthenticationFailed),
    (400, -4109, "inactive", AuthenticationFailed),
    (451, 0, "restricted location", AuthenticationFailed),
]


@pytest.mark.parametrize(("status", "code", "message", "expected"), WRITES)
def test_write_is_refused_only_when_that_is_certain(status, code, message, expected):
    failure = Failure(status, code, message)

    error = build_write_error(failure, classify(failure), retry_after_s=1.0)

    assert type(error) is expected


@pytest.mark.parametrize(("status", "code", "message", "expected"), WRITES)
def test_read_never_has_an_unknown_outcome(status, code, message, expected):
    failure = Failure(status, code, message)

    error = build_read_error(failure, classify(failure), retry_after_s=1.0)

    wanted = {
        OutcomeUnknown: VenueUnavailable, OrderRejected: RequestRefused, OrderTooLarge: RequestRefused
    }.get(expected, expected)
    assert type(error) is wanted


@pytest.mark.parametrize("status", [0, 503])
def test_write_is_unavailable_when_nothing_was_sent(status):
    failure = Failure(status, 0, "Connect call failed", is_sent=False)

    error = build_write_error(failure, classify(failure), retry_after_s=0.0)

    assert type(error) is VenueUnavailable
    assert "BINANCE_FUTURES_URL" in str(error)


@pytest.mark.parametrize(("status", "code", "is_doubted"), [(404, 0, True), (200, 0, True), (503, 0, False), (0, 0, False), (400, -1121, False)])
def test_address_is_doubted_when_somebody_else_seems_to_answer(status, code, is_doubted):
    failure = Failure(status, code, "the reply was not JSON")

    error = build_read_error(failure, Verdict.UNKNOWN, retry_after_s=0.0)

    assert ("BINANCE_FUTURES_URL" in str(error)) is is_doubted


def test_rejection_carries_its_code_and_a_remedy():
    failure = Failure(400, -2027, "Exceeded the maximum allowable position at current leverage.")

    error = build_write_error(failure, classify(failure), retry_after_s=0.0)

    assert isinstance(error, OrderRejected)
    assert error.code == -2027
    assert "LEVERAGE" in str(error)


@pytest.mark.parametrize("code", [-1022, -2014, -2015, -2017, -1002])
def test_authentication_failure_names_the_variables(code):
    failure = Failure(401, code, "no")

    text = str(build_read_error(failure, classify(failure), retry_after_s=0.0))

    assert "BINANCE_API_KEY" in text
    assert "BINANCE_API_SECRET" in text


def test_every_remedy_is_for_a_known_code():
    assert set(REMEDIES) <= set(CODES)


def test_codes_of_unknown_outcome_are_never_refusals():
    assert {code for code, verdict in CODES.items() if verdict is Verdict.UNKNOWN} == {
        -1000,
        -1001,
        -1006,
        -1007,
        -4116,
    }


@pytest.mark.parametrize(
    ("failure", "seconds"),
    [
        (Failure(429, -1003, "", retry_after_s=17.0), 17.0),
        (Failure(429, -1003, ""), 42.0),
        (Failure(418, -1003, "IP banned until 1000000600000. Please", retry_after_s=5.0), 5.0),
        (Failure(418, -1003, "IP banned until 1000000600000. Please"), 600.0),
        (Failure(418, 0, ""), BAN_S),
        (Failure(403, 0, ""), FIREWALL_S),
        (Failure(418, 0, "", retry_after_s=0.0), 1.0),
    ],
)
def test_pause_is_as_long_as_told(failure, seconds):
    assert get_pause_s(failure, now_s=1_000_000_000.0, window_rest_s=42.0) == seconds


@pytest.mark.parametrize("told", [10**9, float("inf")])
def test_pause_ends_with_the_longest_ban(told):
    failure = Failure(429, 0, "banned until 9999999999999", retry_after_s=told)

    assert get_pause_s(failure, now_s=1_795_346_298.0, window_rest_s=1.0) == PAUSE_MAX_S
