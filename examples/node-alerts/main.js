// Watches a price and says when it leaves a range, once each time it does.
//
// It needs no network: it reads a bundled price series, one price per interval, round and round.
// After every price it saves where it stands and goes on from there when it is started again.

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const PRICES = new URL('prices.csv', import.meta.url);
const STATE = join(process.env.STATE_DIR ?? 'state', 'alerts.json');

const stopping = new AbortController();

// Runs until it is stopped. The runtime calls it with the bot's id and its configuration.
export async function main(botId, config) {
  const { above, below, interval } = settings(config);
  const prices = loadPrices();
  let state = loadState();
  console.log(`${botId}: watching ${below} to ${above}, ${prices.length} prices, from tick ${state.ticks}`);

  while (!stopping.signal.aborted) {
    const price = prices[state.ticks % prices.length];
    const zone = price > above ? 'above' : price < below ? 'below' : 'inside';
    const alert = zone !== state.zone && zone !== 'inside';
    state = { ticks: state.ticks + 1, zone, alerts: state.alerts + (alert ? 1 : 0) };
    saveState(state);

    console.log(`tick ${state.ticks}: price ${price.toFixed(2)}, ${zone}`);
    if (alert) {
      console.log(`ALERT ${state.alerts}: ${price.toFixed(2)} is ${zone} ${zone === 'above' ? above : below}`);
      metric('alert', { price, zone, alerts: state.alerts });
    }
    await sleep(interval * 1000, undefined, { signal: stopping.signal }).catch(() => {});
  }
  console.log(`stopped after ${state.ticks} ticks and ${state.alerts} alerts, saved`);
}

// Called by the runtime when the bot has to stop: main wakes up and returns, and the process ends.
export function stop() {
  stopping.abort();
}

// Reads the configuration. What cannot work is said at once, and the runtime shows it as the reason.
function settings(config) {
  const { above = 3500, below = 3300, interval_seconds: interval = 0.5 } = config;
  if (!(below < above)) throw new Error(`config: below must be less than above, got ${below} and ${above}`);
  if (!(interval > 0)) throw new Error(`config: interval_seconds must be above 0, got ${interval}`);
  return { above, below, interval };
}

function loadPrices() {
  const [, ...rows] = readFileSync(PRICES, 'utf8').trim().split('\n');
  return rows.map((row) => Number(row.split(',')[1]));
}

function loadState() {
  const fresh = { ticks: 0, zone: 'inside', alerts: 0 };
  return existsSync(STATE) ? { ...fresh, ...JSON.parse(readFileSync(STATE, 'utf8')) } : fresh;
}

// Writes aside and renames, so that a kill at any moment leaves the old state or the new one, whole.
function saveState(state) {
  mkdirSync(dirname(STATE), { recursive: true });
  writeFileSync(`${STATE}.tmp`, JSON.stringify(state));
  renameSync(`${STATE}.tmp`, STATE);
}

// One line of JSON on stdout: the platform picks such lines up as metrics.
function metric(kind, fields) {
  console.log(JSON.stringify({ _metric: kind, ...fields, timestamp: new Date().toISOString() }));
}
