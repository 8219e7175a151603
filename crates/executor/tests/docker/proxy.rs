//! A socket between the executor and Docker that breaks on demand.

use std::{
    fs,
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// Largest request head.
const HEAD_MAX: usize = 64 * 1024;

/// What happens to the next request whose first line contains `on`.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) on: &'static str,
    pub(crate) then: Then,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Docker does as it is told; the answer is lost.
    LoseAnswer,
    /// The same, and nothing gets through afterwards.
    LoseAnswerAndDie,
    /// Docker never hears of it.
    Refuse,
    /// It is passed on a little later. Stays in force.
    Delay(Duration),
}

#[derive(Debug, Default)]
struct State {
    fault: Option<Fault>,
    dead: bool,
    seen: Vec<String>,
}

/// The socket; ends with the process.
pub(crate) struct Proxy {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    pub(crate) fn new(folder: &Path, docker: &'static str) -> Self {
        let path = folder.join("proxy.sock");
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = shared.clone();
                thread::spawn(move || serve(client, docker, &state));
            }
        });
        Self { path, state }
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    pub(crate) fn next(&self, on: &'static str, then: Then) {
        self.state.lock().unwrap().fault = Some(Fault { on, then });
    }

    pub(crate) fn set_dead(&self, dead: bool) {
        self.state.lock().unwrap().dead = dead;
    }

    /// How many requests came whose first line contains `text`.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.state.lock().unwrap().seen.iter().filter(|line| line.contains(text)).count()
    }
}

fn serve(mut client: UnixStream, docker: &str, state: &Mutex<State>) -> Option<()> {
    let (head, rest) = read_head(&mut client)?;
    let line = head.lines().next()?.to_owned();
    let (dead, then) = {
        let mut state = state.lock().unwrap();
        state.seen.push(line.clone());
        let hit = state.fault.clone().filter(|fault| line.contains(fault.on)).map(|fault| fault.then);
        if hit.is_some_and(|then| !matches!(then, Then::Delay(_))) {
            state.fault = None;
        }
        (state.dead, hit)
    };
    if dead || then == Some(Then::Refuse) {
        return None;
    }
    if let Some(Then::Delay(time)) = then {
        thread::sleep(time);
    }
    let mut server = UnixStream::connect(docker).ok()?;
    server.write_all(head.as_bytes()).ok()?;
    server.write_all(&rest).ok()?;
    if matches!(then, Some(Then::LoseAnswer | Then::LoseAnswerAndDie)) {
        let mut body = vec![0; body_len(&head).saturating_sub(rest.len())];
        client.read_exact(&mut body).ok()?;
        server.write_all(&body).ok()?;
        // An answer means that it was done.
        let _ = server.read(&mut [0; 1]);
        state.lock().unwrap().dead |= then == Some(Then::LoseAnswerAndDie);
        return None;
    }
    let (mut up_from, mut up_to) = (client.try_clone().ok()?, server.try_clone().ok()?);
    let up = thread::spawn(move || {
        let _ = std::io::copy(&mut up_from, &mut up_to);
        let _ = up_to.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(&mut server, &mut client);
    let _ = client.shutdown(Shutdown::Both);
    let _ = up.join();
    Some(())
}

/// The head, and what was read beyond it.
fn read_head(client: &mut UnixStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while bytes.len() < HEAD_MAX {
        let read = client.read(&mut chunk).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Some((String::from_utf8(bytes).ok()?, rest));
        }
    }
    None
}

fn body_len(head: &str) -> usize {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}
