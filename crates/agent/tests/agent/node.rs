//! Bots written in JavaScript.

use nix::sys::signal::Signal;
use serde_json::json;
use the0_model::{Cause, LogStream};

use crate::rig::{Rig, find, skip};

/// A bot in the file of that name; `None` where the machine has no Node.
fn node(file: &str, text: &str) -> Option<Rig> {
    let Some(node) = find("node") else {
        skip("node", "THE0_TEST_NODE");
        return None;
    };
    Some(Rig::new("nodejs20", file, text).set("interpreter", json!(node)))
}

#[test]
fn every_form_of_module_loads() {
    let body = "(id, config) => ({ id, pair: config.pair, same: process.env.BOT_CONFIG === JSON.stringify(config) })";
    let forms = [
        ("main.mjs", format!("export const main = async {body};")),
        ("main.mjs", format!("export default {body};")),
        ("main.mjs", format!("export default {{ main: {body} }};")),
        ("main.js", format!("exports.main = {body};")),
        ("main.js", format!("module.exports = {body};")),
        ("main.cjs", format!("exports.default = async {body};")),
        ("src/main.js", format!("const x = require('./x.js'); exports.main = {body};")),
    ];
    for (file, text) in forms {
        let Some(rig) = node(file, &text) else { return };
        let done = rig.file("src/x.js", "").run();
        assert_eq!(done.exit.cause, Cause::Completed, "{text}: {:?}", done.exit);
        assert_eq!(done.exit.result.unwrap(), json!({"id": "b1", "pair": "BTC/USD", "same": true}), "{text}");
    }
}

#[test]
fn throws_rejections_and_exits_fail_the_bot_with_their_message() {
    let cases = [
        ("exports.main = () => { throw new TypeError('no price') }", 1, "TypeError: no price"),
        ("exports.main = async () => { throw 'plain' }", 1, "plain"),
        (
            "exports.main = async () => { Promise.reject(new Error('lost')); await new Promise(r => setTimeout(r, 5000)) }",
            1,
            "Error: lost",
        ),
        (
            "exports.main = async () => { setTimeout(() => { throw new Error('late') }, 5); await new Promise(r => setTimeout(r, 5000)) }",
            1,
            "Error: late",
        ),
        ("exports.main = () => process.exit(5)", 5, "exited with code 5"),
        (
            "exports.main = () => new Promise(() => {})",
            1,
            "Error: main has not ended, and nothing is left that could end it",
        ),
        ("exports.other = 1", 1, "TypeError: main.js exports no function main(botId, config)"),
        ("throw new Error('at load')", 1, "Error: at load"),
    ];
    for (text, code, message) in cases {
        let Some(rig) = node("main.js", text) else { return };
        let done = rig.run();
        assert_eq!((done.exit.cause, done.exit.code), (Cause::Failed, Some(code)), "{text}: {:?}", done.exit);
        assert_eq!(done.message(), message, "{text}");
    }
}

#[test]
fn what_the_sdk_reports_is_kept() {
    let sdk = "const fs = require('fs'); const write = (r) => fs.writeFileSync('/' + process.env.CODE_MOUNT_DIR + '/result.json', JSON.stringify(r));\n";
    let success = format!(
        "{sdk} exports.main = async () => {{ write({{status: 'success', message: 'mine'}}); return {{other: 1}} }}"
    );
    let Some(rig) = node("main.js", &success) else { return };
    assert_eq!(rig.run().exit.result.unwrap()["message"], "mine");
    let error = format!(
        "{sdk} exports.main = async () => {{ write({{status: 'error', message: 'no key'}}); process.exit(1) }}"
    );
    let Some(rig) = node("main.js", &error) else { return };
    let done = rig.run();
    assert_eq!((done.exit.cause, done.message()), (Cause::Failed, "no key"));
}

#[test]
fn a_stop_is_passed_on_as_the_bot_wants_it() {
    let forever = "await new Promise((resolve) => { setInterval(() => {}, 1000); EXTRA })";
    let cases = [
        // By the signal: main ends by itself.
        (format!("export async function main(id, config, {{ signal }}) {{ console.log('ready'); {forever}; console.log('main done') }}")
            .replace("EXTRA", "signal.addEventListener('abort', resolve)").replace("main(id, config, { signal })", "main(id, config, options)").replace("signal.add", "options.signal.add"),
         "ready\nmain done\n"),
        // By a function that ends main.
        (format!("let end; export const stop = async () => {{ console.log('stop'); end() }}; export async function main() {{ console.log('ready'); {forever}; console.log('main done') }}").replace("EXTRA", "end = resolve"),
         "ready\nstop\nmain done\n"),
        // By a function, while main goes on.
        (format!("export const onStop = (reason) => console.log(reason); export async function main() {{ console.log('ready'); {forever} }}").replace("EXTRA", ""),
         "ready\nSIGTERM\n"),
        // Not at all.
        (format!("export async function main() {{ console.log('ready'); {forever} }}").replace("EXTRA", ""), "ready\n"),
    ];
    for (text, expected) in cases {
        let Some(rig) = node("main.mjs", &text) else { return };
        let running = rig.start();
        running.wait_for("ready");
        running.signal(Signal::SIGTERM);
        let done = running.finish();
        assert_eq!((done.exit.cause, done.exit.code), (Cause::Stopped, Some(0)), "{text}: {:?}", done.exit);
        assert_eq!(done.stdout(), expected, "{text}");
        assert_eq!(done.exit.result.unwrap()["status"], "terminated");
    }
}

#[test]
fn everything_printed_is_out_before_the_end() {
    let text =
        "exports.main = () => { for (let n = 0; n < 20000; n++) console.log('line ' + n); process.exit(0) }";
    let Some(rig) = node("main.js", text) else { return };
    let done = rig.run();
    assert_eq!(done.stdout().lines().count(), 20_000);
    assert_eq!(done.text(LogStream::Stderr), "");
}

#[test]
fn a_configuration_of_a_megabyte_works_and_programs_can_still_be_started() {
    let text = "
const { execSync } = require('child_process');
exports.main = (id, config) => {
  process.env.MINE = 'set';
  const child = execSync('echo $BOT_ID $MINE').toString().trim();
  return { length: config.text.length, same: JSON.parse(process.env.BOT_CONFIG).text === config.text, child };
}";
    let Some(rig) = node("main.js", text) else { return };
    let done = rig.config(&json!({"text": "é".repeat(500_000)})).run();
    assert_eq!(done.exit.result.unwrap(), json!({"length": 500_000, "same": true, "child": "b1 set"}));
}
