// A bot that counts ticks, and goes on counting after a restart.
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

let stopping = false;

export async function main(botId, config) {
  const symbol = config.symbol ?? "BTC/USDT";
  const interval = Number(config.interval_seconds ?? 1) * 1000;
  let ticks = await load();
  console.log(`${botId} watches ${symbol}, ${ticks} ticks so far`);
  while (!stopping) {
    await sleep(interval);
    ticks += 1;
    await save(ticks);
    console.log(`tick ${ticks} of ${symbol}`);
  }
  console.log(`stopped after ${ticks} ticks`);
}

// Called once before the bot is stopped: close orders here.
export async function stop() {
  stopping = true;
}

const folder = process.env.STATE_DIR ?? "state";
const file = `${folder}/ticks.json`;

async function load() {
  await mkdir(folder, { recursive: true });
  try {
    return JSON.parse(await readFile(file, "utf8"));
  } catch (error) {
    if (error.code === "ENOENT") return 0;
    throw error;
  }
}

async function save(ticks) {
  // Written beside and renamed, so that a kill in between loses nothing.
  await writeFile(`${file}.new`, JSON.stringify(ticks));
  await rename(`${file}.new`, file);
}
