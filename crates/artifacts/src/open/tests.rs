use super::*;

#[test]
fn a_bucket_cannot_lead_outside() {
    let folder = tempfile::tempdir().unwrap();
    let stores = ObjectStores::directory(folder.path().join("objects"));
    for bad in ["", "..", ".x", "a/b", "/etc", "A", &"x".repeat(64)] {
        assert!(matches!(stores.bucket(bad), Err(OpenError::Bucket { .. })), "{bad}");
    }
    stores.bucket("custom-bots").unwrap();
    assert!(folder.path().join("objects/custom-bots").is_dir());
}

#[test]
fn local_files_and_unconfigured_stores_are_refused() {
    let stores = ObjectStores::directory("/nonexistent");
    for location in ["file:///etc/passwd", "s3://b/k", "gs://b/k"] {
        assert!(matches!(stores.resolve(location), Err(OpenError::Location { .. })), "{location}");
    }
    let stores = stores.allow_local_files(true);
    assert!(matches!(stores.resolve("file:///etc/passwd"), Ok(Place::Local(_))));
}

#[test]
fn keys_do_not_print() {
    let settings = S3Settings {
        endpoint: Some("localhost:9000".into()),
        access_key: Secret::new("canary-access".into()),
        secret_key: Secret::new("canary-secret".into()),
        region: "us-east-1".into(),
        path_style: true,
        tls: false,
    };
    let stores = ObjectStores::s3(settings.clone());
    assert!(!format!("{settings:?} {stores:?}").contains("canary"));
}
