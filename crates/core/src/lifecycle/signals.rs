//! Signals: the first asks to end in order, the second ends at once.

use std::io;

use futures::{Stream, StreamExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Exit code after a second signal.
pub const EXIT_INTERRUPTED: i32 = 130;

/// Listens for SIGTERM and SIGINT for the rest of the process's life. The first cancels `drain`; the second exits with
/// [`EXIT_INTERRUPTED`]. Fails where the system does not allow handlers.
pub fn listen(drain: CancellationToken) -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let signals = futures::stream::select(
        futures::stream::poll_fn(move |context| {
            terminate.poll_recv(context).map(|got| got.map(|()| "SIGTERM"))
        }),
        futures::stream::poll_fn(move |context| {
            interrupt.poll_recv(context).map(|got| got.map(|()| "SIGINT"))
        }),
    );
    #[expect(
        clippy::disallowed_methods,
        reason = "it must hear the second signal after every group of tasks has ended"
    )]
    tokio::spawn(async move {
        if obey(signals, &drain).await {
            std::process::exit(EXIT_INTERRUPTED);
        }
    });
    Ok(())
}

/// Returns true when a second signal came.
async fn obey(signals: impl Stream<Item = &'static str>, drain: &CancellationToken) -> bool {
    let mut signals = std::pin::pin!(signals);
    let Some(first) = signals.next().await else { return false };
    info!(signal = first, "ending in order; a second signal ends at once");
    drain.cancel();
    let Some(second) = signals.next().await else { return false };
    warn!(signal = second, "second signal: ending at once");
    true
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc;

    use super::*;

    #[tokio::test]
    async fn the_first_signal_drains_and_only_the_second_exits() {
        let (sender, signals) = mpsc::unbounded();
        let drain = CancellationToken::new();
        let mut obeyed = std::pin::pin!(obey(signals, &drain));
        assert!(futures::poll!(&mut obeyed).is_pending());
        assert!(!drain.is_cancelled(), "nothing came yet");
        sender.unbounded_send("SIGTERM").unwrap();
        assert!(futures::poll!(&mut obeyed).is_pending(), "one signal does not exit");
        assert!(drain.is_cancelled());
        sender.unbounded_send("SIGINT").unwrap();
        assert!(obeyed.await);
    }
}
