// Reads a JSON list of {key, public, proof} from standard input, writes the list of verdicts.
// Run in the folder that has snarkjs installed.
const { createRequire } = require("node:module");
const { readFileSync } = require("node:fs");

const { groth16 } = createRequire(`${process.cwd()}/`)("snarkjs");

async function main() {
  const verdicts = [];
  for (const { key, public: signals, proof } of JSON.parse(readFileSync(0, "utf8"))) {
    verdicts.push(await groth16.verify(key, signals, proof));
  }
  process.stdout.write(JSON.stringify(verdicts));
}

// snarkjs keeps its worker threads, so the process has to be ended.
main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
