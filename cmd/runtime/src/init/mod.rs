//! `runtime init`: a sample bot to start from.

use std::{fs, io::Write, path::Path};

use the0_model::Runtime;

use crate::{
    cli::InitArgs,
    exit::{Exit, Failure},
    output,
};

/// Writes the sample, and overwrites nothing.
pub(crate) fn run(args: &InitArgs) -> Result<Exit, Failure> {
    let runtime: Runtime = args.runtime.parse().map_err(Failure::usage)?;
    let (entrypoint, program) = match runtime {
        Runtime::Python311 => ("main.py", include_str!("main.py")),
        Runtime::Nodejs20 => ("main.mjs", include_str!("main.mjs")),
        Runtime::RustStable | Runtime::Gcc13 | Runtime::Ghc96 | Runtime::Dotnet8 | Runtime::Scala3 => {
            return Err(Failure::usage(format!(
                "there is no sample for {runtime}; use python3.11 or nodejs20"
            )));
        }
    };
    let dir = &args.dir;
    fs::create_dir_all(dir).map_err(|error| Failure::failed(format!("{}: {error}", dir.display())))?;
    let full = fs::canonicalize(dir)?;
    let name = full.file_name().and_then(|name| name.to_str()).map_or_else(|| "my-bot".to_owned(), as_bot_id);
    let manifest = include_str!("bot.yaml")
        .replace("{name}", &name)
        .replace("{runtime}", runtime.as_str())
        .replace("{entrypoint}", entrypoint);
    let files = [("bot.yaml", manifest.as_str()), (entrypoint, program)];
    if let Some((taken, _)) = files.iter().find(|(file, _)| full.join(file).exists()) {
        let path = dir.join(taken);
        return Err(Failure::new(
            Exit::Conflict,
            format!("{} exists already; nothing was written", path.display()),
        ));
    }
    for (file, text) in files {
        write_new(&full.join(file), text)?;
        output::line(format!("wrote {}", dir.join(file).display()))?;
    }
    output::line(format!("run it with `runtime bots deploy {}`", dir.display()))?;
    Ok(Exit::Ok)
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let named = |error: std::io::Error| Failure::failed(format!("{}: {error}", path.display()));
    let mut file = fs::File::create_new(path).map_err(named)?;
    file.write_all(text.as_bytes()).map_err(named)
}

fn as_bot_id(name: &str) -> String {
    let id: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '-' })
        .take(the0_model::id::BOT_ID_MAX)
        .collect();
    let id = id.trim_start_matches('-');
    if id.is_empty() { "my-bot".to_owned() } else { id.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_folder_gives_a_bot_id() {
        assert_eq!(as_bot_id("my bot (1)"), "my-bot--1-");
        assert_eq!(as_bot_id("--"), "my-bot");
        for name in ["ünï", "a/b", "-x", &"y".repeat(300)] {
            the0_model::BotId::new(as_bot_id(name)).unwrap();
        }
    }
}
