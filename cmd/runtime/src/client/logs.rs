//! `runtime bots logs`.

use std::io::{self, BufWriter, Write};

use the0_proto::bot::v1::{LogLine, LogStream, StreamLogsRequest};

use super::{Client, answer, json};
use crate::{
    cli::LogsArgs,
    exit::{Exit, Failure},
    output::{Paint, times},
};

pub(super) async fn run(mut client: Client, args: LogsArgs) -> Result<Exit, Failure> {
    let request = StreamLogsRequest {
        bot_id: args.bot,
        follow: args.follow,
        tail: args.tail,
        previous: args.previous,
        attempt: args.attempt.unwrap_or(0),
    };
    let mut lines = answer(client.rpc.stream_logs(request).await)?;
    let mut out = BufWriter::new(io::stdout());
    loop {
        // Written out before each wait, so that a line is seen when it comes.
        let next = tokio::select! {
            biased;
            line = lines.message() => line?,
            () = std::future::ready(()) => {
                out.flush()?;
                lines.message().await?
            }
        };
        let Some(line) = next else { break };
        write_line(&mut out, &client, &line, args.timestamps)?;
    }
    out.flush()?;
    Ok(Exit::Ok)
}

fn write_line(out: &mut impl Write, client: &Client, line: &LogLine, timestamps: bool) -> io::Result<()> {
    if client.json {
        let stream = line.stream().as_str_name().trim_start_matches("LOG_STREAM_").to_lowercase();
        let value = serde_json::json!({
            "at": json::time(line.at.as_ref()), "stream": stream, "attempt": line.attempt,
            "text": String::from_utf8_lossy(&line.text), "partial": line.partial,
        });
        return writeln!(out, "{value}");
    }
    if timestamps {
        write!(out, "{} ", client.style.paint(Paint::Dim, &times::text(line.at.as_ref())))?;
    }
    if line.stream() == LogStream::Agent {
        let text = format!("[runtime, attempt {}] {}", line.attempt, String::from_utf8_lossy(&line.text));
        return writeln!(out, "{}", client.style.paint(Paint::Busy, &text));
    }
    out.write_all(&line.text)?;
    // Pieces of a long line are put together again; with times before them they stay apart.
    if !line.partial || timestamps {
        out.write_all(b"\n")?;
    }
    Ok(())
}
