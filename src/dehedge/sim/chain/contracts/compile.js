// Compiles DePerp.sol into artifacts.json; the README beside this file has the command.
const crypto = require("crypto");
const fs = require("fs");
const path = require("path");
const solc = require("solc");

const source = fs.readFileSync(path.join(__dirname, "DePerp.sol"), "utf8");
const settings = {
  viaIR: true,
  optimizer: { enabled: true, runs: 200 },
  evmVersion: "cancun",
  // Without the metadata trailer the bytecode depends on nothing but the source and the compiler.
  metadata: { appendCBOR: false, bytecodeHash: "none" },
  outputSelection: { "*": { "*": ["abi", "evm.deployedBytecode.object", "evm.methodIdentifiers"] } },
};
const input = { language: "Solidity", sources: { "DePerp.sol": { content: source } }, settings };
const output = JSON.parse(solc.compile(JSON.stringify(input)));
for (const problem of output.errors ?? []) console.error(problem.formattedMessage);
if (!output.contracts) process.exit(1);

const contracts = {};
for (const [name, built] of Object.entries(output.contracts["DePerp.sol"])) {
  contracts[name] = {
    abi: built.abi,
    selectors: built.evm.methodIdentifiers,
    code: "0x" + built.evm.deployedBytecode.object,
  };
}
const artifact = {
  compiler: solc.version(),
  source_sha256: crypto.createHash("sha256").update(source).digest("hex"),
  contracts,
};
fs.writeFileSync(path.join(__dirname, "artifacts.json"), JSON.stringify(artifact) + "\n");
