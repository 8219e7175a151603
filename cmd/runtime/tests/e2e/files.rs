//! Bots and bundles to deploy.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

/// Counts, keeps its count, and says with which configuration.
const COUNTER: &str = r#"
import json, os, threading
stopping = threading.Event()
def main(bot_id, config):
    path = os.path.join(os.environ["STATE_DIR"], "count.json")
    os.makedirs(os.environ["STATE_DIR"], exist_ok=True)
    count = json.load(open(path)) if os.path.exists(path) else 0
    print(f"hello from {bot_id} with step {config.get('step')} at {count}", flush=True)
    while not stopping.wait(0.05):
        count += 1
        with open(path + ".new", "w") as file:
            json.dump(count, file)
        os.replace(path + ".new", path)
        print(f"count {count}", flush=True)
def on_stop(reason):
    stopping.set()
"#;

/// Writes a bot that counts.
pub(crate) fn counter(parent: &Path, name: &str) -> PathBuf {
    bot(parent, name, COUNTER, "")
}

/// Writes a Python bot; `more` goes below its manifest.
pub(crate) fn bot(parent: &Path, name: &str, program: &str, more: &str) -> PathBuf {
    let dir = parent.join(name);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("main.py"), program).unwrap();
    let manifest = format!(
        "name: {name}\nversion: 1.0.0\nruntime: python3.11\nentrypoints: {{ bot: main.py }}\nconfig: {{ step: 1 }}\n\
         limits: {{ memory_mb: 128, cpu_millis: 1000, pids: 64 }}\n{more}"
    );
    std::fs::write(dir.join("bot.yaml"), manifest).unwrap();
    dir
}

/// Writes a ZIP with these entries.
pub(crate) fn zip(path: &Path, entries: &[(&str, &[u8])]) {
    let mut writer = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    for (name, content) in entries {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap();
}
