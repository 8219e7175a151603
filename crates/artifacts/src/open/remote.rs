//! Clients of remote stores.

use std::time::Duration;

use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut},
    gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder},
};

use super::{GcsSettings, S3Settings, Timeouts};

pub(super) fn s3(settings: &S3Settings, bucket: &str, waits: &Timeouts) -> object_store::Result<AmazonS3> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(&settings.region)
        .with_access_key_id(settings.access_key.expose())
        .with_secret_access_key(settings.secret_key.expose())
        .with_virtual_hosted_style_request(!settings.path_style)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_allow_http(!settings.tls)
        .with_retry(retry(waits))
        .with_client_options(client(waits, settings.tls).with_allow_http(!settings.tls));
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint_url(endpoint, settings.tls));
    }
    builder.build()
}

pub(super) fn gcs(
    settings: &GcsSettings,
    bucket: &str,
    waits: &Timeouts,
) -> object_store::Result<GoogleCloudStorage> {
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(bucket)
        .with_retry(retry(waits))
        .with_client_options(client(waits, true));
    if let Some(key) = &settings.service_account {
        builder = builder.with_service_account_key(key.expose());
    }
    builder.build()
}

fn endpoint_url(endpoint: &str, tls: bool) -> String {
    if endpoint.contains("://") {
        return endpoint.to_owned();
    }
    format!("{}://{endpoint}", if tls { "https" } else { "http" })
}

fn client(waits: &Timeouts, tls: bool) -> ClientOptions {
    // The HTTP client leaves the choice of cryptography to us. A second call finds it chosen, which is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ClientOptions::new()
        .with_connect_timeout(waits.connect)
        .with_read_timeout(waits.idle)
        .with_timeout(waits.total)
        // Otherwise names are looked up through glibc, whose plugins a static binary cannot load.
        .with_config(ClientConfigKey::RandomizeAddresses, "false")
        // A machine without certificates can still use a store that needs none.
        .with_no_system_certificates(!tls)
}

fn retry(waits: &Timeouts) -> RetryConfig {
    RetryConfig {
        max_retries: 2,
        retry_timeout: waits.call,
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(1),
            base: 2.0,
        },
    }
}
