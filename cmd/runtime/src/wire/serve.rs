//! The API on a port: the service, its health, and reflection for those who come with a stock client.

use std::{future, net::TcpListener, sync::Arc, time::Duration};

use futures::StreamExt;
use the0_bot_runner::grpc::{BotRunnerService, MESSAGE_BYTES_MAX};
use the0_proto::{FILE_DESCRIPTOR_SET, bot::v1::bot_runner_server::BotRunnerServer};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::RoutesBuilder,
    transport::{Server, server::TcpIncoming},
};

use super::gate::Gate;

/// New connections that are looked at at once.
const LOOKS_MAX: usize = 16;
/// Calls at once on one connection; more are turned away rather than queued.
const CALLS_PER_CONNECTION_MAX: usize = 256;
/// Streams at once on one connection.
const STREAMS_PER_CONNECTION_MAX: u32 = 512;
/// Largest set of headers, in bytes.
const HEADERS_BYTES_MAX: u32 = 16 * 1024;

/// Serves until cancelled, then lets calls end.
pub(super) async fn serve(
    listener: TcpListener,
    gate: Gate,
    service: BotRunnerService,
    draining: CancellationToken,
) -> anyhow::Result<()> {
    listener.set_nonblocking(true)?;
    let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?).with_nodelay(Some(true));
    let gate = Arc::new(gate);
    let incoming = incoming
        .map(move |connection| admitted(Arc::clone(&gate), connection))
        .buffer_unordered(LOOKS_MAX)
        .filter_map(future::ready);
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<BotRunnerServer<BotRunnerService>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut routes = RoutesBuilder::default();
    routes.add_service(health_service);
    routes.add_service(reflection().build_v1()?);
    // Older clients, grpcurl of some years ago among them, ask for this one only.
    routes.add_service(reflection().build_v1alpha()?);
    routes.add_service(BotRunnerServer::new(service).max_decoding_message_size(MESSAGE_BYTES_MAX));
    let drained = async {
        draining.cancelled().await;
        health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        health.set_not_serving::<BotRunnerServer<BotRunnerService>>().await;
    };
    Server::builder()
        .concurrency_limit_per_connection(CALLS_PER_CONNECTION_MAX)
        .load_shed(true)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .http2_max_header_list_size(HEADERS_BYTES_MAX)
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .add_routes(routes.routes())
        .serve_with_incoming_shutdown(incoming, drained)
        .await?;
    Ok(())
}

/// The connection, unless a bot made it.
async fn admitted(
    gate: Arc<Gate>,
    connection: std::io::Result<TcpStream>,
) -> Option<std::io::Result<TcpStream>> {
    let connection = match connection {
        Ok(connection) => connection,
        Err(error) => return Some(Err(error)),
    };
    let looked = tokio::task::spawn_blocking(move || gate.admits(&connection).then_some(connection)).await;
    looked.ok().flatten().map(Ok)
}
