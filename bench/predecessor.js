// What a JavaScript hedger without an index does with a price: every position of the market, one after the other.
// Reads {price, shield, vault, positions: [[isLong, size, entry, tracer], ...]} and prints the seconds of each round.
"use strict";

const UNIT = 10n ** 18n;
const BPS = 10000n;
const input = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const vault = BigInt(input.vault), shield = BigInt(input.shield);
const positions = input.positions.map(([isLong, size, entry, tracer], row) => ({
  key: `0x${row.toString(16).padStart(40, "0")}|${input.market}`,
  isLong, size: BigInt(size), entry: BigInt(entry), tracer: BigInt(tracer),
}));
const hedged = new Map();

function getPnl(position, price) {
  const change = position.isLong ? price - position.entry : position.entry - price;
  const funding = (position.size * (0n - position.tracer)) / (BPS * UNIT);
  const pnl = (position.size * change) / position.entry;
  return position.isLong ? pnl - funding : pnl + funding;
}

function look(price) {
  let risky = 0;
  for (const position of positions) {
    const pnl = getPnl(position, price);
    const remaining = vault + shield - pnl;
    const isRisky = vault > remaining || shield - pnl <= 0n;
    if (isRisky && !hedged.has(position.key)) risky += 1;
  }
  return risky;
}

const seconds = [];
let risky = 0;
for (let round = 0; round < input.rounds; round += 1) {
  const began = process.hrtime.bigint();
  risky = look(BigInt(input.price));
  seconds.push(Number(process.hrtime.bigint() - began) / 1e9);
}
console.log(JSON.stringify({ risky, seconds }));
