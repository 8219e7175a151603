use std::time::Duration;

use super::*;

fn environment_of(pairs: &[(&str, &str)]) -> BTreeMap<String, OsString> {
    let home = [("HOME", "/home/me")];
    home.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), OsString::from(*value))).collect()
}

fn with_file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dev.yaml");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

#[test]
fn flags_go_over_environment_over_file_over_defaults() {
    let (_dir, path) = with_file(
        "listen: 127.0.0.1:1\nlog_format: json\nreconcile_interval: 5s\nimages:\n  python3.11: from/file\n  nodejs20: m/n\n",
    );
    let args = DevArgs {
        listen: Some("127.0.0.1:3".into()),
        images: vec!["python3.11=from/flag".into()],
        config: Some(path),
        ..DevArgs::default()
    };
    let environment = environment_of(&[
        ("THE0_LISTEN", "127.0.0.1:2"),
        ("THE0_RECONCILE_INTERVAL", "7s"),
        ("DOCKER_HOST", "unix:///x"),
    ]);
    let settings = load(&args, &environment).unwrap();
    assert_eq!(settings.listen.port(), 3);
    assert_eq!(settings.reconcile_interval, Some(Duration::from_secs(7)));
    assert_eq!(settings.log_format, LogFormat::Json);
    assert_eq!(settings.on_stop, OnStop::Keep);
    assert_eq!(settings.docker_host.as_deref(), Some("unix:///x"));
    assert_eq!(settings.data_dir, PathBuf::from("/home/me/.local/share/the0"));
    assert_eq!(settings.images.values().collect::<Vec<_>>(), ["from/flag", "m/n"]);
}

#[test]
fn every_fault_of_every_source_is_reported_with_its_key_and_place() {
    let (_dir, path) =
        with_file("listne: 127.0.0.1:1\nexecutor: podman\non_stop: [1]\n\nimages: {cobol: x}\n");
    let args = DevArgs {
        listen: Some("here".into()),
        executor: Some("docker".into()),
        config: Some(path),
        ..DevArgs::default()
    };
    let failure = load(&args, &environment_of(&[("THE0_RECONCILE_INTERVAL", "soon")])).unwrap_err();
    let text = format!("{failure:?}");
    for part in [
        "6 faults",
        "listne (file",
        "line 1): there is no such setting",
        "executor (file",
        "line 2): \\\"podman\\\" is not known",
        "on_stop (file",
        "line 3): a text is expected",
        "images (file",
        "line 5): runtime \\\"cobol\\\" is not known",
        "reconcile_interval (environment THE0_RECONCILE_INTERVAL)",
        "listen (flag --listen)",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn without_a_home_the_data_directory_must_be_given() {
    let nobody = BTreeMap::new();
    assert!(format!("{:?}", load(&DevArgs::default(), &nobody).unwrap_err()).contains("give --data-dir"));
    let given = DevArgs { data_dir: Some("/d".into()), ..DevArgs::default() };
    assert_eq!(load(&given, &nobody).unwrap().data_dir, PathBuf::from("/d"));
}

#[test]
fn a_file_that_is_not_there_or_no_yaml_is_named() {
    let missing = DevArgs { config: Some("/nowhere/dev.yaml".into()), ..DevArgs::default() };
    assert!(format!("{:?}", load(&missing, &environment_of(&[])).unwrap_err()).contains("/nowhere/dev.yaml"));
    let (_dir, path) = with_file("listen: [\n");
    let broken = DevArgs { config: Some(path), ..DevArgs::default() };
    assert!(load(&broken, &environment_of(&[])).is_err());
}

#[test]
fn what_is_printed_can_be_read_again_and_shows_no_secret() {
    let environment = environment_of(&[
        ("THE0_DOCKER_HOST", "tcp://me:canary@host:2375/x"),
        ("THE0_IMAGES", "gcc13=a,ghc96=b"),
    ]);
    let settings = load(&DevArgs::default(), &environment).unwrap();
    let text = as_yaml(&settings);
    assert!(!text.contains("canary") && text.contains("tcp://***@host:2375/x"), "{text}");
    assert!(!as_json(&settings).to_string().contains("canary"));
    let (_dir, path) = with_file(&text);
    let again = load(&DevArgs { config: Some(path), ..DevArgs::default() }, &environment_of(&[])).unwrap();
    assert_eq!(again.images, settings.images);
    assert_eq!(again.reconcile_interval, settings.reconcile_interval);
}
