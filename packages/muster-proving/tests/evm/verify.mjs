// Compiles the contract of standard input's {name, source} and runs each of its {calls} (hex) in a
// fresh virtual machine. Writes the list of [whether the call returned, what it returned].
// Run in the folder that has the packages installed.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require_ = createRequire(`${process.cwd()}/`);
const solc = require_("solc");
const { createEVM } = require_("@ethereumjs/evm");
const { Address, hexToBytes, bytesToHex } = require_("@ethereumjs/util");

const { name, source, calls } = JSON.parse(readFileSync(0, "utf8"));
const input = {
  language: "Solidity",
  sources: { "verifier.sol": { content: source } },
  settings: {
    optimizer: { enabled: true },
    outputSelection: { "*": { "*": ["evm.deployedBytecode.object"] } },
  },
};
const output = JSON.parse(solc.compile(JSON.stringify(input)));
if (output.errors?.length) {
  throw new Error(output.errors.map((error) => error.formattedMessage).join("\n"));
}
const code = hexToBytes(
  `0x${output.contracts["verifier.sol"][name].evm.deployedBytecode.object}`,
);
const answers = [];
for (const data of calls) {
  const evm = await createEVM();
  const to = new Address(hexToBytes(`0x${"11".repeat(20)}`));
  const result = await evm.runCode({ code, to, data: hexToBytes(data), gasLimit: 10_000_000n });
  answers.push([
    result.exceptionError === undefined,
    bytesToHex(result.returnValue),
    Number(result.executionGasUsed),
  ]);
}
process.stdout.write(JSON.stringify(answers));
