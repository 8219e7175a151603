//! Bots written in Python.

use serde_json::json;
use the0_model::{Cause, LogStream};

use crate::rig::Rig;

const SDK: &str = r#"
import json, os, sys
def _write(result):
    with open("/" + os.environ["CODE_MOUNT_DIR"] + "/result.json", "w") as file: json.dump(result, file)
def parse(): return os.environ["BOT_ID"], json.loads(os.environ["BOT_CONFIG"])
def success(message, data=None): _write({"status": "success", "message": message, "data": data})
def error(message):
    _write({"status": "error", "message": message})
    sys.exit(1)
"#;

#[test]
fn a_bot_gets_its_id_and_configuration_and_its_value_is_the_result() {
    let config = json!({"a": [1, 2.5, null, true], "text": "é \"quoted\"", "n": -1.5e-3, "big": 12_345_678_901_234_567_890_u64});
    let text = "import os, json\ndef main(bot_id, config):\n  assert config == json.loads(os.environ['BOT_CONFIG'])\n  return {'id': bot_id, 'config': config}\n";
    let done = Rig::python(text).config(&config).run();
    assert_eq!(done.exit.cause, Cause::Completed, "{:?}", done.exit);
    assert_eq!(done.exit.result.unwrap(), json!({"id": "b1", "config": config}));
}

#[test]
fn without_a_value_success_is_the_result() {
    let done = Rig::python("def main(bot_id, config): return 3\n").run();
    assert_eq!(done.exit.result.unwrap()["status"], "success");
}

#[test]
fn an_exception_fails_the_bot_with_its_message() {
    let text = "def main(bot_id, config):\n  raise ValueError('no price')\n";
    let done = Rig::python(text).run();
    assert_eq!((done.exit.cause, done.exit.code, done.code), (Cause::Failed, Some(1), Some(1)));
    assert_eq!(done.message(), "ValueError: no price");
    let shown = done.text(LogStream::Stderr);
    assert!(shown.contains("line 2, in main") && !shown.contains("python_bot"), "{shown}");
}

#[test]
fn an_exception_counts_for_more_than_an_earlier_success() {
    let text = "import sdk\ndef main(i, c):\n  sdk.success('done')\n  raise KeyError('x')\n";
    let done = Rig::python(text).file("sdk.py", SDK).run();
    assert_eq!(done.exit.cause, Cause::Failed);
    assert_eq!(done.message(), "KeyError: 'x'");
}

#[test]
fn what_the_sdk_reports_is_kept() {
    let text = "import sdk\ndef main(i, c):\n  bot, config = sdk.parse()\n  sdk.success('traded ' + bot, [config])\n  return {'other': 1}\n";
    let done = Rig::python(text).file("sdk.py", SDK).run();
    assert_eq!(
        done.exit.result.unwrap(),
        json!({"status": "success", "message": "traded b1", "data": [{"pair": "BTC/USD"}]})
    );
    let done = Rig::python("import sdk\ndef main(i, c): sdk.error('no key')\n").file("sdk.py", SDK).run();
    assert_eq!((done.exit.cause, done.exit.code), (Cause::Failed, Some(1)));
    assert_eq!(done.message(), "no key");
}

#[test]
fn an_exit_of_its_own_is_honoured() {
    let exit = |text: &str| Rig::python(&format!("import sys\ndef main(i, c): sys.exit({text})\n")).run();
    assert_eq!(exit("").exit.cause, Cause::Completed);
    let done = exit("4");
    assert_eq!((done.exit.cause, done.code), (Cause::Failed, Some(4)));
    assert_eq!(done.message(), "exited with code 4");
    let done = exit("'bad luck'");
    assert_eq!((done.code, done.message()), (Some(1), "bad luck"));
}

#[test]
fn a_configuration_of_a_megabyte_works_and_programs_can_still_be_started() {
    let text = "
import os, json, subprocess
def main(bot_id, config):
    assert json.loads(os.environ['BOT_CONFIG']) == config
    print(len(config['text']), subprocess.run(['echo', 'hello'], capture_output=True, text=True).stdout)
";
    let done = Rig::python(text).config(&json!({"text": "é".repeat(500_000)})).run();
    assert_eq!(done.stdout().trim(), "500000 hello", "{:?}", done.exit);
}

#[test]
fn a_configuration_that_is_not_json_is_said() {
    let rig = Rig::python("def main(i, c): pass\n");
    std::fs::write(rig.path("in/config.json"), "{\"a\": }").unwrap();
    let done = rig.run();
    assert_eq!(done.exit.cause, Cause::Failed);
    assert!(done.message().starts_with("JSONDecodeError"), "{}", done.message());
}

#[test]
fn neighbours_vendored_packages_and_folders_are_imported() {
    let text = "
import neighbour, wheel_like, os, sys
from .neighbour import value
from . import neighbour as again
def main(bot_id, config):
    print(value, wheel_like.name, os.path.basename(__file__), __name__, os.getcwd() == os.path.dirname(os.path.dirname(__file__)), sys.argv == [__file__])
";
    let rig = Rig::python("").file("src/bot.py", text).file("src/neighbour.py", "value = 5\n");
    let rig = rig.file("vendor/wheel_like/__init__.py", "name = 'vendored'\n");
    let done = rig.set("entrypoint", json!("src/bot.py")).run();
    assert_eq!(done.stdout(), "5 vendored bot.py main True True\n", "{:?}", done.exit);
}

#[test]
fn faults_before_main_are_told() {
    let done = Rig::python("x = 1\n").run();
    assert_eq!(done.message(), "TypeError: main.py has no function main(bot_id, config)");
    let done = Rig::python("import not_there\n").run();
    assert!(
        done.message().starts_with("ModuleNotFoundError: No module named 'not_there'"),
        "{}",
        done.message()
    );
    let done = Rig::python("def main(:\n").run();
    assert!(done.message().starts_with("SyntaxError"), "{}", done.message());
}

#[test]
fn an_async_main_runs_to_its_end() {
    let text = "import asyncio\nasync def main(i, c):\n  await asyncio.sleep(0)\n  print('ran')\n  return {'status': 'success', 'n': 1}\n";
    let done = Rig::python(text).run();
    assert_eq!((done.exit.cause, done.stdout().as_str()), (Cause::Completed, "ran\n"), "{:?}", done.exit);
    assert_eq!(done.exit.result.unwrap()["n"], 1);
    let done = Rig::python("async def main(i, c): raise OSError('gone')\n").run();
    assert_eq!((done.exit.cause, done.message()), (Cause::Failed, "OSError: gone"));
}

#[test]
fn main_runs_on_the_main_thread_and_threads_are_waited_for() {
    let text = "
import threading, time
def work():
    time.sleep(0.1)
    print('thread done')
def main(bot_id, config):
    print(threading.current_thread() is threading.main_thread())
    threading.Thread(target=work).start()
";
    let done = Rig::python(text).run();
    assert_eq!(done.stdout(), "True\nthread done\n", "{:?}", done.exit);
}

#[test]
fn nothing_is_imported_that_the_interpreter_had_not_loaded() {
    let text = "
import sys, subprocess
def main(bot_id, config):
    ours = set(sys.modules)
    bare = set(eval(subprocess.run([sys.executable, '-c', 'import sys; print(list(sys.modules))'], capture_output=True, text=True).stdout))
    print(sorted(name for name in seen - bare if not name.startswith('_')))
";
    // What was loaded is noted before the bot itself imports anything.
    let done = Rig::python(&format!("import sys\nseen = set(sys.modules)\n{text}")).run();
    assert_eq!(done.stdout(), "['main']\n", "{:?}", done.exit);
}
