"""The Hermes stand-in, asked over real HTTP by a client of another make than the daemon's."""

import asyncio
import base64
import json
from contextlib import asynccontextmanager
from decimal import Decimal

import aiohttp
import pytest

from dehedge.sim.hermes import FEED_IDS, Fault, Route, SimHermes
from dehedge.sim.hermes.streams import QUEUE_MAX

BTC, ETH, SOL = FEED_IDS["BTC/USD"], FEED_IDS["ETH/USD"], FEED_IDS["SOL/USD"]
NOW = 1_800_000_000
KEY = "k3y-of-the-test"

pytestmark = pytest.mark.timeout(20)


class ManualTime:
    """A clock that stands still, and waits that end when the test says so."""

    def __init__(self):
        self.now = float(NOW)
        self._waits = []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        wait = asyncio.get_running_loop().create_future()
        self._waits.append((self.now + seconds, wait))
        await wait

    def advance(self, seconds):
        self.now += seconds
        due = [wait for until, wait in self._waits if until <= self.now]
        self._waits = [(until, wait) for until, wait in self._waits if until > self.now]
        for wait in due:
            wait.set_result(None)


class Client:
    """Asks the stand-in; keeps what a stream says."""

    def __init__(self, session, hermes):
        self.session, self.hermes = session, hermes

    async def get(self, path, *feed_ids, headers=None, **params):
        query = [*(("ids[]", feed_id) for feed_id in feed_ids), *params.items()]
        return await self.session.get(self.hermes.base_url + path, params=query, headers=headers)

    async def get_latest(self, *feed_ids, **params):
        async with await self.get(Route.LATEST, *feed_ids, **params) as response:
            assert response.status == 200
            return await response.json()

    @asynccontextmanager
    async def stream(self, *feed_ids, **params):
        async with await self.get(Route.STREAM, *feed_ids, **params) as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "text/event-stream"
            await self.hermes.wait_until(lambda: self.hermes.stream_count > 0)
            yield response.content


async def read_event(content):
    """The lines of the next event, without the empty one that ends it."""
    block = await asyncio.wait_for(content.readuntil(b"\n\n"), 5)
    return block.decode().splitlines()[:-1]


async def read_prices(content):
    (line,) = await read_event(content)
    return {entry["id"]: entry["price"]["price"] for entry in json.loads(line.removeprefix("data:"))["parsed"]}


@asynccontextmanager
async def start(**options):
    time = ManualTime()
    async with (
        SimHermes(clock=time, sleep=time.sleep, **options) as hermes,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as session,
    ):
        hermes.set(BTC, Decimal("61409.93501"), Decimal("32.87868567"))
        hermes.set(ETH, Decimal(3_000))
        # Both repeating tasks have begun to wait.
        await asyncio.sleep(0)
        yield hermes, Client(session, hermes), time


async def test_latest_has_the_shape_of_hermes():
    async with start() as (_, client, _time):
        reply = await client.get_latest(BTC)

    assert list(reply) == ["binary", "parsed"]
    assert reply["binary"]["encoding"] == "hex"
    assert bytes.fromhex(reply["binary"]["data"][0])[:4] == b"PNAU"
    assert 2_500 < len(reply["binary"]["data"][0]) < 3_500
    (entry,) = reply["parsed"]
    price = {"price": "6140993501000", "conf": "3287868567", "expo": -8, "publish_time": NOW}
    assert entry["id"] == BTC
    assert entry["price"] == price
    assert entry["ema_price"].keys() == price.keys()
    assert entry["metadata"].keys() == {"slot", "proof_available_time", "prev_publish_time"}


async def test_latest_gives_the_feeds_in_the_order_asked_for():
    async with start() as (_, client, _time):
        reply = await client.get_latest(ETH, "0x" + BTC.upper(), ETH)

    assert [entry["id"] for entry in reply["parsed"]] == [ETH, BTC]


async def test_latest_obeys_its_options():
    async with start() as (_, client, _time):
        reply = await client.get_latest(BTC, encoding="base64", parsed="false")

    assert list(reply) == ["binary"]
    assert base64.b64decode(reply["binary"]["data"][0])[:4] == b"PNAU"


@pytest.mark.parametrize("path", [Route.LATEST, Route.STREAM])
@pytest.mark.parametrize(
    ("feed_ids", "params"),
    [
        ((), {}),
        (("xyz",), {}),
        ((BTC[1:],), {}),
        ((BTC,), {"encoding": "octal"}),
        ((BTC,), {"parsed": "maybe"}),
        ((BTC,), {"ignore_invalid_price_ids": "1"}),
    ],
)
async def test_query_is_refused_when_it_is_malformed(path, feed_ids, params):
    async with start() as (_, client, _time), await client.get(path, *feed_ids, **params) as response:
        assert response.status == 400
        assert (await response.text()).startswith("Failed to deserialize query string: ")


@pytest.mark.parametrize("path", [Route.LATEST, Route.STREAM])
async def test_unknown_feed_is_not_found_unless_it_is_to_be_ignored(path):
    async with start() as (_, client, _time):
        async with await client.get(path, BTC, SOL) as response:
            assert response.status == 404
            assert await response.text() == f"Price ids not found: 0x{SOL}"
        async with await client.get(path, BTC, SOL, ignore_invalid_price_ids="true") as response:
            assert response.status == 200


async def test_latest_leaves_out_an_unknown_feed_when_it_is_to_be_ignored():
    async with start() as (hermes, client, _time):
        reply = await client.get_latest(BTC, SOL, ignore_invalid_price_ids="true")
        assert [entry["id"] for entry in reply["parsed"]] == [BTC]

        hermes.remove(BTC)
        reply = await client.get_latest(BTC, SOL, ignore_invalid_price_ids="true")
        assert reply == {"binary": {"encoding": "hex", "data": []}, "parsed": []}


@pytest.mark.parametrize("path", list(Route))
@pytest.mark.parametrize(
    ("headers", "params", "status", "key_in"),
    [
        ({}, {}, 401, ""),
        ({"Authorization": "Bearer wrong"}, {}, 401, "header"),
        ({"Authorization": f"Basic {KEY}"}, {}, 401, ""),
        ({"Authorization": f"Bearer {KEY}"}, {}, 200, "header"),
        ({}, {"ACCESS_TOKEN": KEY}, 200, "query"),
    ],
)
async def test_key_is_demanded_on_every_path(path, headers, params, status, key_in):
    async with start(api_key=KEY) as (hermes, client, _time):
        async with await client.get(path, BTC, headers=headers, **params) as response:
            assert response.status == status
        assert hermes.requests[-1].key_in == key_in


async def test_feeds_are_listed_and_filtered():
    async with start() as (hermes, client, _time):
        hermes.define("ab" * 32, symbol="XAU/USD", expo=-3)
        hermes.set("ab" * 32, Decimal("2650.125"))
        hermes.set("cd" * 32, Decimal(1))
        async with await client.get(Route.FEEDS) as response:
            symbols = [feed["attributes"]["symbol"] for feed in await response.json()]
        async with await client.get(Route.FEEDS, query="btc") as response:
            found = await response.json()
        async with await client.get(Route.FEEDS, asset_type="equity") as response:
            none = await response.json()
        gold = await client.get_latest("ab" * 32)

    assert symbols == ["Crypto.BTC/USD", "Crypto.ETH/USD", "Crypto.XAU/USD", "Crypto.SIMCDCDCD/USD"]
    assert [feed["id"] for feed in found] == [BTC]
    assert found[0]["attributes"]["display_symbol"] == "BTC/USD"
    assert none == []
    assert (gold["parsed"][0]["price"]["price"], gold["parsed"][0]["price"]["expo"]) == ("2650125", -3)


async def test_confidence_is_some_basis_points_when_none_is_given():
    async with start() as (_, client, _time):
        reply = await client.get_latest(ETH)

    assert reply["parsed"][0]["price"]["conf"] == "150000000"


async def test_stream_pushes_at_once_when_a_price_is_set():
    async with start() as (hermes, client, _time), client.stream(BTC) as content:
        hermes.set(BTC, Decimal(60_000))

        assert await read_prices(content) == {BTC: "6000000000000"}


async def test_stream_gives_each_price_of_one_moment_in_order():
    async with start() as (hermes, client, _time), client.stream(BTC) as content:
        for price in (1, 2, 3):
            hermes.set(BTC, Decimal(price))

        assert [(await read_prices(content))[BTC] for _ in range(3)] == ["100000000", "200000000", "300000000"]


async def test_stream_repeats_every_interval_under_a_new_time():
    async with start(interval_s=2.0) as (_, client, time), client.stream(BTC, ETH) as content:
        times = []
        for _ in range(3):
            time.advance(2)
            (line,) = await read_event(content)
            times += [entry["price"]["publish_time"] for entry in json.loads(line.removeprefix("data:"))["parsed"]]

    assert times == [NOW + 2] * 2 + [NOW + 4] * 2 + [NOW + 6] * 2


async def test_stream_sends_keep_alive_comments():
    async with start(interval_s=1_000, keep_alive_s=15) as (_, client, time), client.stream(BTC) as content:
        time.advance(15)

        assert await read_event(content) == [":"]


async def test_silent_stream_sends_keep_alive_comments_only():
    async with start() as (hermes, client, _time), client.stream(BTC) as content:
        hermes.silence_streams()
        hermes.set(BTC, Decimal(1))
        hermes.keep_alive()
        hermes.speak()
        hermes.set(BTC, Decimal(2))

        assert await read_event(content) == [":"]
        assert await read_prices(content) == {BTC: "200000000"}


async def test_stream_sends_nothing_when_none_of_its_feeds_is_known():
    params = {"ignore_invalid_price_ids": "true"}
    async with start() as (hermes, client, _time), client.stream(SOL, **params) as content:
        hermes.set(BTC, Decimal(1))
        hermes.keep_alive()

        assert await read_event(content) == [":"]


async def test_stream_ends_with_an_error_event_when_a_day_is_over():
    async with start() as (hermes, client, _time), client.stream(BTC) as content:
        hermes.end_streams()

        assert await read_event(content) == ["event:error", "data:Connection timeout reached (24h)"]
        assert await content.read() == b""
        await hermes.wait_until(lambda: hermes.stream_count == 0)


async def test_stream_is_reset_when_it_is_cut():
    async with start() as (hermes, client, _time), client.stream(BTC) as content:
        hermes.cut_streams()

        with pytest.raises(aiohttp.ClientError):
            await content.read()


async def test_stream_is_forgotten_when_its_client_leaves():
    async with start() as (hermes, client, _time):
        async with client.stream(BTC):
            assert hermes.stream_count == 1

        await hermes.wait_until(lambda: hermes.stream_count == 0)


async def test_stream_lets_go_of_a_client_that_does_not_read():
    async with start() as (hermes, client, _time), client.stream(BTC) as content:
        for price in range(1, QUEUE_MAX + 2):
            hermes.set(BTC, Decimal(price))

        *_, last = (await content.read()).decode().strip().split("\n\n")
        assert last.splitlines() == ["event:error", "data:Slow consumer: disconnected"]


async def test_stream_passes_on_any_text():
    async with start() as (hermes, client, _time), client.stream(BTC) as content:
        hermes.push_data('{"parsed": [')
        hermes.push_data("Error receiving update", event="error")

        assert await read_event(content) == ['data:{"parsed": [']
        assert await read_event(content) == ["event:error", "data:Error receiving update"]


async def read_time(client, feed_id):
    return (await client.get_latest(feed_id))["parsed"][0]["price"]["publish_time"]


async def test_frozen_feed_keeps_its_time_until_it_thaws():
    async with start() as (hermes, client, time):
        hermes.freeze(BTC)
        time.now += 60
        hermes.publish()
        hermes.set(BTC, Decimal(59_000))
        assert (await read_time(client, BTC), await read_time(client, ETH)) == (NOW, NOW + 60)

        hermes.thaw(BTC)
        hermes.publish()
        assert await read_time(client, BTC) == NOW + 60


async def test_every_feed_keeps_its_time_when_all_are_frozen():
    async with start() as (hermes, client, time):
        hermes.freeze()
        time.now += 60
        hermes.publish()
        assert (await read_time(client, BTC), await read_time(client, ETH)) == (NOW, NOW)

        hermes.thaw()
        hermes.publish()
        assert (await read_time(client, BTC), await read_time(client, ETH)) == (NOW + 60, NOW + 60)


async def test_price_is_back_dated_until_it_is_published_again():
    async with start() as (hermes, client, _time):
        hermes.set(BTC, Decimal(59_000), publish_time=NOW - 30)
        assert await read_time(client, BTC) == NOW - 30

        hermes.publish()
        assert await read_time(client, BTC) == NOW


@pytest.mark.parametrize("path", list(Route))
@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault.UNAUTHORIZED, 401),
        (Fault.FORBIDDEN, 403),
        (Fault.NOT_FOUND, 404),
        (Fault.THROTTLED, 429),
        (Fault.SERVER_ERROR, 500),
        (Fault.UNAVAILABLE, 503),
    ],
)
async def test_fault_answers_with_its_status_until_it_is_healed(path, fault, status):
    async with start() as (hermes, client, _time):
        hermes.fail(fault, path)
        for _ in range(2):
            async with await client.get(path, BTC) as response:
                assert response.status == status
        hermes.heal(path)
        async with await client.get(path, BTC) as response:
            assert response.status == 200


async def test_fault_ends_by_itself_after_so_many_requests():
    async with start() as (hermes, client, _time):
        hermes.fail(Fault.THROTTLED, Route.LATEST, retry_after="7", times=2)
        statuses, waits = [], []
        for _ in range(3):
            async with await client.get(Route.LATEST, BTC) as response:
                statuses.append(response.status)
                waits.append(response.headers.get("Retry-After"))

    assert statuses == [429, 429, 200]
    assert waits == ["7", "7", None]


async def test_fault_leaves_the_other_paths_alone():
    async with start() as (hermes, client, _time):
        hermes.fail(Fault.NOT_FOUND, Route.STREAM)

        assert (await client.get_latest(BTC))["parsed"]


@pytest.mark.parametrize(
    ("fault", "media_type", "check"),
    [
        (Fault.HTML, "text/html", lambda text: text.startswith("<!DOCTYPE html>")),
        (Fault.EMPTY, "application/json", lambda text: text == ""),
        (Fault.TRUNCATED, "application/json", lambda text: text.startswith('{"binary"') and not text.endswith("}")),
        (Fault.ONE_EVENT, "application/json", lambda text: bool(json.loads(text)["parsed"])),
    ],
)
async def test_fault_answers_with_the_wrong_body(fault, media_type, check):
    async with start() as (hermes, client, _time):
        hermes.fail(fault)
        async with await client.get(Route.LATEST, BTC) as response:
            assert response.status == 200
            assert response.content_type == media_type
            assert check(await response.text())


async def test_fault_gives_one_event_and_ends_the_stream():
    async with start() as (hermes, client, _time):
        hermes.fail(Fault.ONE_EVENT, Route.STREAM)
        async with await client.get(Route.STREAM, BTC) as response:
            assert await read_prices(response.content) == {BTC: "6140993501000"}
            assert await response.content.read() == b""


async def test_fault_resets_the_connection():
    async with start() as (hermes, client, _time):
        hermes.fail(Fault.RESET)

        with pytest.raises(aiohttp.ClientError):
            await client.get(Route.LATEST, BTC)


async def test_fault_hangs_until_it_is_healed():
    async with start() as (hermes, client, _time):
        # The client would repeat the request by itself.
        client.session._retry_connection = False
        hermes.fail(Fault.HANG)
        request = asyncio.create_task(client.get(Route.LATEST, BTC))
        await hermes.wait_until(lambda: len(hermes.requests) == 1)
        assert not request.done()

        hermes.heal()
        with pytest.raises(aiohttp.ClientError):
            await request


async def test_hermes_comes_back_on_the_same_port_with_its_prices():
    async with start() as (hermes, client, _time):
        url = hermes.base_url
        async with client.stream(BTC) as content:
            await hermes.down()
            with pytest.raises(aiohttp.ClientError):
                await content.read()
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get(Route.LATEST, BTC)

        await hermes.up()
        assert hermes.base_url == url
        assert (await client.get_latest(BTC))["parsed"][0]["price"]["price"] == "6140993501000"


async def test_hermes_goes_down_while_a_request_hangs():
    async with start() as (hermes, client, _time):
        hermes.fail(Fault.HANG)
        request = asyncio.create_task(client.get(Route.LATEST, BTC))
        await hermes.wait_until(lambda: len(hermes.requests) == 1)
        await hermes.down()

        with pytest.raises(aiohttp.ClientError):
            await request


async def test_requests_are_logged():
    async with start() as (hermes, client, time):
        await client.get_latest(BTC, ETH)
        time.now += 5
        async with await client.get(Route.FEEDS):
            pass

    first, second = hermes.requests
    assert (first.at, first.route, first.feed_ids) == (NOW, Route.LATEST, (BTC, ETH))
    assert (second.at, second.route, second.feed_ids) == (NOW + 5, Route.FEEDS, ())
