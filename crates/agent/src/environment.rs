//! Pure: the environment of the user's process, and nothing besides.

use std::{collections::BTreeMap, ffi::OsString, os::unix::ffi::OsStrExt, path::Path};

use the0_model::{AgentSpec, Runtime};

use crate::AgentPaths;

/// Largest configuration put into `BOT_CONFIG`, in bytes: Linux refuses to execute with a variable of 128 KiB or more.
pub(crate) const BOT_CONFIG_BYTES_MAX: usize = 120 * 1024;
/// Used where neither the image nor the bot sets a `PATH`.
const PATH_FALLBACK: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What an image may say about itself and programs in it need. Everything else of the agent's own environment stays out.
const FROM_IMAGE: [&str; 6] = ["PATH", "JAVA_HOME", "DOTNET_ROOT", "SSL_CERT_FILE", "SSL_CERT_DIR", "TZ"];

/// The whole environment. `own` is the agent's, `config` the text of the bot's configuration.
///
/// The bot's own variables go over the image's; the contract's go over both, so that nothing can tell a bot it is another.
pub(crate) fn environment(
    spec: &AgentSpec,
    paths: &AgentPaths,
    own: impl IntoIterator<Item = (OsString, OsString)>,
    config: &[u8],
) -> BTreeMap<OsString, OsString> {
    let mut env: BTreeMap<OsString, OsString> = BTreeMap::new();
    env.insert("PATH".into(), PATH_FALLBACK.into());
    env.insert("LANG".into(), "C.UTF-8".into());
    env.insert("HOME".into(), "/tmp".into());
    env.insert("PYTHONUNBUFFERED".into(), "1".into());
    env.insert("PYTHONDONTWRITEBYTECODE".into(), "1".into());
    env.extend(own.into_iter().filter(|(name, value)| {
        FROM_IMAGE.iter().any(|known| name.as_bytes() == known.as_bytes()) && !value.is_empty()
    }));
    env.extend(spec.env.iter().map(|(name, value)| (name.into(), value.expose().into())));

    let mut set = |name: &str, value: OsString| env.insert(name.into(), value);
    set("BOT_ID", spec.bot.as_str().into());
    set("BOT_CONFIG_FILE", paths.config_json().into());
    set("STATE_DIR", paths.state.join(".the0-state").into());
    set("CODE_MOUNT_DIR", without_root(&paths.out));
    set("SCRIPT_PATH", (&spec.entrypoint).into());
    set("ENTRYPOINT_TYPE", "bot".into());
    set("BOT_TYPE", "realtime".into());
    set("PYTHONPATH", python_path(&paths.code));
    set("RUN_GENERATION", spec.generation.to_string().into());
    set("RUN_ATTEMPT", spec.attempt.to_string().into());
    set("RUN_RESUMED", spec.resumed.to_string().into());
    if needs_config_in_environment(spec.runtime) && config.len() < BOT_CONFIG_BYTES_MAX {
        set("BOT_CONFIG", std::ffi::OsStr::from_bytes(config).into());
    } else {
        // Left over from the bot's own variables it would be another configuration than the file's.
        env.remove(std::ffi::OsStr::new("BOT_CONFIG"));
    }
    env
}

/// Whether the program itself reads `BOT_CONFIG`; the wrappers set it for theirs, at any size.
pub(crate) const fn needs_config_in_environment(runtime: Runtime) -> bool {
    !matches!(runtime, Runtime::Python311 | Runtime::Nodejs20)
}

/// The platform's SDKs put the slash back.
fn without_root(path: &Path) -> OsString {
    path.strip_prefix("/").unwrap_or(path).into()
}

fn python_path(code: &Path) -> OsString {
    let mut list: OsString = code.join("vendor").into();
    list.push(":");
    list.push(code);
    list
}

#[cfg(test)]
mod tests {
    use the0_model::Secret;

    use super::*;
    use crate::launch::tests::spec;

    fn shown(env: &BTreeMap<OsString, OsString>) -> String {
        let lines: Vec<_> =
            env.iter().map(|(name, value)| format!("{}={}", name.display(), value.display())).collect();
        lines.join("\n")
    }

    fn own(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn the_contract_and_nothing_of_the_agents_own() {
        let own =
            own(&[("PATH", "/opt/bin"), ("MINIO_SECRET_KEY", "canary"), ("LD_PRELOAD", "x"), ("TZ", "")]);
        let env = environment(&spec(Runtime::Gcc13, "bot"), &AgentPaths::default(), own, b"{\"a\":1}");
        insta::assert_snapshot!(shown(&env), @r#"
        BOT_CONFIG={"a":1}
        BOT_CONFIG_FILE=/var/the0/in/config.json
        BOT_ID=b1
        BOT_TYPE=realtime
        CODE_MOUNT_DIR=var/the0/out
        ENTRYPOINT_TYPE=bot
        HOME=/tmp
        LANG=C.UTF-8
        PATH=/opt/bin
        PYTHONDONTWRITEBYTECODE=1
        PYTHONPATH=/bot/vendor:/bot
        PYTHONUNBUFFERED=1
        RUN_ATTEMPT=3
        RUN_GENERATION=4.2
        RUN_RESUMED=true
        SCRIPT_PATH=bot
        STATE_DIR=/state/.the0-state
        "#);
    }

    #[test]
    fn a_bots_own_variables_go_over_the_images_but_not_over_the_contracts() {
        let mut spec = spec(Runtime::Python311, "main.py");
        for (name, value) in [("PATH", "/mine"), ("BOT_ID", "other"), ("BOT_CONFIG", "{}"), ("KEY", "k")] {
            spec.env.insert(name.into(), Secret::new(value.into()));
        }
        let env = environment(&spec, &AgentPaths::default(), own(&[("PATH", "/image")]), b"{}");
        let get = |name: &str| env.get(std::ffi::OsStr::new(name)).map(|value| value.to_str().unwrap());
        assert_eq!(get("PATH"), Some("/mine"));
        assert_eq!(get("BOT_ID"), Some("b1"));
        assert_eq!(get("KEY"), Some("k"));
        assert_eq!(get("BOT_CONFIG"), None, "the wrapper sets it");
    }

    #[test]
    fn a_configuration_that_would_make_the_start_fail_is_left_to_its_file() {
        let has_it = |bytes: usize| {
            let config = vec![b' '; bytes];
            let env = environment(&spec(Runtime::Gcc13, "bot"), &AgentPaths::default(), [], &config);
            env.contains_key(std::ffi::OsStr::new("BOT_CONFIG"))
        };
        assert!(has_it(BOT_CONFIG_BYTES_MAX - 1));
        assert!(!has_it(BOT_CONFIG_BYTES_MAX));
    }
}
