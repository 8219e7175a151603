//! Reaches the service, or says how to start one.

use std::time::Duration;

use the0_proto::bot::v1::bot_runner_client::BotRunnerClient;
use tonic::transport::{Channel, Endpoint};

use crate::exit::{Exit, Failure};

/// Largest message accepted from the service, in bytes: a page of bots with large configurations.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(super) async fn channel(server: &str) -> Result<Channel, Failure> {
    let url = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
    let endpoint = Endpoint::from_shared(url.clone())
        .map_err(|error| Failure::usage(format!("--server {server}: {error}; use http://host:port")))?
        .connect_timeout(Duration::from_secs(5))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .user_agent(concat!("runtime/", env!("CARGO_PKG_VERSION")))
        .map_err(Failure::failed)?;
    endpoint.connect().await.map_err(|_| {
        Failure::new(Exit::Unavailable, format!("no runtime answers at {url}; start one with `runtime dev`"))
            .and("another address is given by --server or THE0_SERVER")
    })
}

pub(super) fn client(channel: Channel) -> BotRunnerClient<Channel> {
    BotRunnerClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}
