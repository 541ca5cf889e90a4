// Vault and shield: what the insurers hold, and what pays the traders' profits first.

import { age, setAge } from "../clock.js";
import { el, panel, setText } from "../dom.js";
import { usd } from "../format.js";

export function buildFunds() {
  const { section, body } = panel("funds", "Vault and shield", { needs: "stream inputs" });
  const vault = el("dd", {}, "–");
  const shield = el("dd", {}, "–");
  const block = el("span", {}, "–");
  const together = el("p", {});
  const seen = age();
  body.append(
    el("dl", { class: "figures" },
      el("div", {}, el("dt", {}, "Vault, USDC"), vault),
      el("div", {}, el("dt", {}, "Shield, USDC"), shield)),
    together,
    el("p", { class: "muted" }, "At block ", block, ", ", seen, " old"),
  );
  function showStatus({ snapshot, portfolio }) {
    setText(together, portfolio?.text ?? "");
    setText(vault, usd(snapshot?.vault));
    setText(shield, usd(snapshot?.shield));
    setText(block, snapshot ? String(snapshot.block_number) : "–");
    setAge(seen, snapshot?.block_time);
  }
  return { section, on: { status: showStatus } };
}
