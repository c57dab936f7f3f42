// Runs a ceremony: ceremony.cjs <curve> <power> <folder>, from <folder>/circuit.r1cs to
// first.zkey (without a contribution) and final.zkey. Writes the verification key and the verdict of
// `zkey verify`. Run in the folder that has snarkjs installed.
const { createRequire } = require("node:module");
const { join } = require("node:path");

const require_ = createRequire(`${process.cwd()}/`);
const { powersOfTau, zKey } = require_("snarkjs");

const [curveName, power, folder] = process.argv.slice(2);
const file = (name) => join(folder, name);

async function main() {
  const curve = await require_("ffjavascript").getCurveFromName(curveName);
  await powersOfTau.newAccumulator(curve, Number(power), file("0.ptau"));
  await powersOfTau.contribute(file("0.ptau"), file("1.ptau"), "first", "not random: a test");
  await powersOfTau.preparePhase2(file("1.ptau"), file("2.ptau"));
  await zKey.newZKey(file("circuit.r1cs"), file("2.ptau"), file("first.zkey"));
  await zKey.contribute(file("first.zkey"), file("final.zkey"), "first", "not random: a test");
  const accepted = await zKey.verifyFromR1cs(
    file("circuit.r1cs"), file("2.ptau"), file("final.zkey"),
  );
  const verificationKey = await zKey.exportVerificationKey(file("final.zkey"));
  process.stdout.write(JSON.stringify({ verificationKey, accepted }));
}

// snarkjs keeps its worker threads, so the process has to be ended.
main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
