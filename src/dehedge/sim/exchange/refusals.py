"""The exchange's error codes, their words and their HTTP statuses.

Owns the one exception by which every layer of the stand-in says no. Knows nothing of requests or state; the ledger, the
parameter parser, the limiter and the routes raise ``Refused``, and the API turns it into the exchange's error body.
"""

from __future__ import annotations

from http import HTTPStatus

MESSAGES: dict[int, str] = {
    -1000: "An unknown error occured while processing the request.",
    -1001: "Internal error; unable to process your request. Please try again.",
    -1003: "Too many requests; current limit is {} requests per minute. "
    "Please use the websocket for live updates to avoid polling the API.",
    -1006: "An unexpected response was received from the message bus. Execution status unknown.",
    -1007: "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    -1008: "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. Please try again.",
    -1015: "Too many new orders; current limit is {} orders per {}.",
    -1021: "Timestamp for this request is outside of the recvWindow.",
    -1022: "Signature for this request is not valid.",
    -1023: "Start time is greater than end time.",
    -1100: "Illegal characters found in parameter '{}'; legal range is '{}'.",
    -1101: "Duplicate values for a parameter detected.",
    -1102: "Mandatory parameter '{}' was not sent, was empty/null, or malformed.",
    -1105: "Parameter '{}' was empty.",
    -1106: "Parameter '{}' sent when not required.",
    -1111: "Precision is over the maximum defined for this asset.",
    -1115: "Invalid timeInForce.",
    -1116: "Invalid orderType.",
    -1117: "Invalid side.",
    -1121: "Invalid symbol.",
    -1125: "This listenKey does not exist.",
    -1127: "More than {} hours between startTime and endTime.",
    -1130: "Data sent for parameter '{}' is not valid.",
    -1136: "Invalid newOrderRespType.",
    -2010: "NEW_ORDER_REJECTED",
    -2011: "Unknown order sent.",
    -2013: "Order does not exist.",
    -2014: "API-key format invalid.",
    -2015: "Invalid API-key, IP, or permissions for action.",
    -2017: "API Keys are locked on this account.",
    -2018: "Balance is insufficient.",
    -2019: "Margin is insufficient.",
    -2020: "Unable to fill.",
    -2022: "ReduceOnly Order is rejected.",
    -2023: "User in liquidation mode now.",
    -2025: "Reach max open order limit.",
    -2027: "Exceeded the maximum allowable position at current leverage.",
    -2028: "Leverage is smaller than permitted: insufficient margin balance.",
    -4001: "Price less than 0.",
    -4002: "Price greater than max price.",
    -4003: "Quantity less than or equal to zero.",
    -4004: "Quantity less than min quantity.",
    -4005: "Quantity greater than max quantity.",
    -4013: "Price less than min price.",
    -4014: "Price not increased by tick size.",
    -4015: "Client order id is not valid.",
    -4016: "Limit price can't be higher than {}.",
    -4021: "{} is not valid depth limit",
    -4023: "Qty not increased by step size.",
    -4024: "Limit price can't be lower than {}.",
    -4028: "Leverage {} is not valid",
    -4046: "No need to change margin type.",
    -4047: "Margin type cannot be changed if there exists open orders.",
    -4048: "Margin type cannot be changed if there exists position.",
    -4059: "No need to change position side.",
    -4060: "Invalid position side.",
    -4061: "Order's position side does not match user's setting.",
    -4062: "Invalid or improper reduceOnly value.",
    -4067: "Position side cannot be changed if there exists open orders.",
    -4068: "Position side cannot be changed if there exists position.",
    -4082: "Invalid number of batch place orders.",
    -4083: "Fail to place batch orders.",
    -4087: "User can only place reduce only order",
    -4088: "User can not place order currently",
    -4109: "Inactive account",
    -4116: "ClientOrderId is duplicated.",
    -4120: "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
    -4131: "The counterparty's best price does not meet the PERCENT_PRICE filter limit.",
    -4136: "Target strategy invalid for orderType '{}',closePosition 'true'",
    -4140: "Invalid symbol status for opening position.",
    -4141: "Symbol is closed.",
    -4161: "Leverage reduction is not supported in Isolated Margin Mode with open positions.",
    -4164: "Order's notional must be no smaller than {} (unless you choose reduce only).",
    -4165: "Maximum time interval is {} days.",
    -4167: "Unable to adjust to Multi-Assets mode with symbols of USDⓈ-M Futures under isolated-margin mode.",
    -4168: "Unable to adjust to isolated-margin mode under the Multi-Assets mode.",
    -4170: "Unable to adjust Multi-Assets Mode with open orders in USDⓈ-M Futures.",
    -4171: "Adjusted asset mode is currently set and does not need to be adjusted repeatedly.",
    -4192: "Trade forbidden due to Cooling-off Period.",
    -4400: "Futures Trading Quantitative Rules violated, only reduceOnly order is allowed, please try again later.",
    -4401: "Futures Trading Risk Control Rules of large position holding violated, only reduceOnly order is allowed, "
    "please reduce the position.",
    -4402: "Dear user, as per our Terms of Use and compliance with local regulations, this feature is currently not "
    "available in your region.",
    -5000: "Path {}, Method {} is invalid",
    -5021: "Due to the order could not be filled immediately, the FOK order has been rejected. "
    "The order will not be recorded in the order history",
    -5022: "Due to the order could not be executed as maker, the Post Only order will be rejected. "
    "The order will not be recorded in the order history",
    -5024: "Symbol is not in trading status. Order amendment is not permitted.",
    -5025: "Only limit order is supported.",
    -5027: "No need to modify the order.",
    -5028: "Timestamp for this request is outside of the ME recvWindow.",
    -5040: "The goodTillDate timestamp must be greater than the current time plus 600 seconds "
    "and smaller than 253402300799000",
    -5047: "The reduceOnly of a modification must match the original order.",
}

STATUSES: dict[int, int] = {
    -1003: HTTPStatus.TOO_MANY_REQUESTS,
    -1007: HTTPStatus.REQUEST_TIMEOUT,
    -1008: HTTPStatus.SERVICE_UNAVAILABLE,
    -1015: HTTPStatus.TOO_MANY_REQUESTS,
    -2014: HTTPStatus.UNAUTHORIZED,
    -2015: HTTPStatus.UNAUTHORIZED,
    -2017: HTTPStatus.UNAUTHORIZED,
    -5000: HTTPStatus.NOT_FOUND,
}


class Refused(Exception):
    """The exchange refuses a request: nothing was executed."""

    def __init__(self, code: int, *words: object) -> None:
        self.code = code
        self.msg = MESSAGES[code].format(*words)
        self.status = int(STATUSES.get(code, HTTPStatus.BAD_REQUEST))
        self.retry_after_s: float | None = None
        super().__init__(f"{code}: {self.msg}")


class Banned(Refused):
    """The address kept calling after it was told to wait: nothing works until ``until_ms``."""

    def __init__(self, until_ms: int, retry_after_s: float) -> None:
        super().__init__(-1003, "")
        self.msg = (
            f"Way too many requests; IP banned until {until_ms}. "
            "Please use the websocket for live updates to avoid bans."
        )
        self.status = 418
        self.retry_after_s = retry_after_s


def build_wait(code: int, retry_after_s: float, *words: object) -> Refused:
    """Build a refusal that tells the caller when to come back."""
    refused = Refused(code, *words)
    refused.retry_after_s = retry_after_s
    return refused
