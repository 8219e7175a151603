// Runs a bot written in JavaScript: a file, ESM or CommonJS, that exports main(botId, config, {signal}).
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const RESULT = "/" + process.env.CODE_MOUNT_DIR + "/result.json";
const SCRIPT = process.env.SCRIPT_PATH;
const SUCCESS = { status: "success", message: "Bot executed successfully" };
// After the bot's own stop function has returned, and where main cannot know that it is to end.
const END_SOON_MS = 500;
// In UTF-16 units, of which the longest have three bytes each; Linux allows 128 KiB.
const ENV_LENGTH_MAX = 40 * 1024;

const abort = new AbortController();
let bot = {};
let stopping = false;
let handled = Promise.resolve(); // the bot's own stop function, done
let ended = false;

function keptResult() {
  try {
    return JSON.parse(fs.readFileSync(RESULT, "utf8"));
  } catch {
    return undefined;
  }
}

function writeResult(result, keep = true) {
  if (keep && fs.existsSync(RESULT)) return;
  try {
    fs.writeFileSync(RESULT + ".tmp", JSON.stringify(result));
    fs.renameSync(RESULT + ".tmp", RESULT);
  } catch (error) {
    process.stderr.write(`the result could not be written: ${error.message}\n`);
  }
}

function end(code) {
  ended = true;
  process.exit(code);
}

function fail(error) {
  if (ended) return;
  if (stopping && (error === abort.signal.reason || error?.name === "AbortError")) return handled.then(stopped);
  process.stderr.write(`${error?.stack ?? describe(error)}\n`);
  if (keptResult()?.status !== "error") {
    writeResult({ status: "error", message: describe(error) }, false);
  }
  end(1);
}

function describe(error) {
  if (error instanceof Error) return `${error.name}: ${error.message}`;
  return typeof error === "string" ? error : JSON.stringify(error) ?? String(error);
}

function stopped() {
  writeResult({ status: "terminated", message: "stopped by request" });
  end(0);
}

function exported(...names) {
  for (const name of names) {
    for (const holder of [bot, bot.default]) {
      if (typeof holder?.[name] === "function") return holder[name].bind(holder);
    }
  }
  return undefined;
}

async function stop() {
  if (stopping) return;
  stopping = true;
  abort.abort(new Error("stopped by request"));
  const handler = exported("stop", "onStop");
  handled = (async () => handler?.("SIGTERM"))().catch((error) => {
    process.stderr.write(`${error?.stack ?? describe(error)}\n`);
  });
  await handled;
  // A main that takes the signal and has no stop function beside it ends by itself, within its grace.
  if (handler || !takesSignal()) setTimeout(stopped, END_SOON_MS);
}

function entry() {
  const main = exported("main") ?? (typeof bot.default === "function" ? bot.default : undefined);
  return main ?? (typeof bot.default?.default === "function" ? bot.default.default : undefined);
}

function setConfig(text) {
  if (text.length < ENV_LENGTH_MAX) {
    process.env.BOT_CONFIG = text;
    return;
  }
  // Seen by this program alone: with a variable of this size it could start no other.
  process.env = new Proxy(process.env, {
    get: (env, name) => (name === "BOT_CONFIG" ? text : env[name]),
    has: (env, name) => name === "BOT_CONFIG" || name in env,
    set: (env, name, value) => {
      env[name] = value;
      return true;
    },
  });
}

function takesSignal() {
  const main = [bot.main, bot.default?.main, bot.default, bot.default?.default].find((value) => typeof value === "function");
  return (main?.length ?? 0) >= 3;
}

// What was printed is out before process.exit, whoever calls it; Node would drop what does not fit the pipe.
for (const stream of [process.stdout, process.stderr]) stream._handle?.setBlocking?.(true);

process.on("SIGTERM", stop);
process.on("SIGINT", stop);
process.on("uncaughtException", fail);
process.on("unhandledRejection", fail);
process.on("beforeExit", () => {
  if (ended) return;
  fail(new Error("main has not ended, and nothing is left that could end it"));
});
process.on("exit", (code) => {
  // The bot, or its SDK, called process.exit itself.
  if (ended) return;
  writeResult(code === 0 ? SUCCESS : { status: "error", message: `exited with code ${code}` });
});

try {
  const text = fs.readFileSync(process.env.BOT_CONFIG_FILE, "utf8");
  setConfig(text);
  const script = path.join(process.cwd(), SCRIPT);
  process.argv[1] = script;
  bot = await import(pathToFileURL(script).href);
  const main = entry();
  if (!main) throw new TypeError(`${SCRIPT} exports no function main(botId, config)`);
  const value = await main(process.env.BOT_ID, JSON.parse(text), { signal: abort.signal });
  if (stopping) {
    await handled;
    stopped();
  } else {
    writeResult(value !== null && typeof value === "object" ? value : SUCCESS);
    end(0);
  }
} catch (error) {
  fail(error);
}
