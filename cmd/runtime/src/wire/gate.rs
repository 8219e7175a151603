//! Keeps bots off the API. It asks nobody for a password, and in a sandbox bots share the machine's network: without this a
//! bot could read the keys of all others.
//!
//! Who is at the other end of a connection within this machine is asked of the kernel: its table of sockets has the user
//! of each, and `/proc` tells which process holds it.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::unix::fs::MetadataExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use tokio::net::TcpStream;
use tracing::{debug, warn};

/// Tables of sockets, as `proc_net_tcp(5)` has them.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];
/// State of a connection that is open at both ends. One that was closed at the other has no user any more.
const ESTABLISHED: &str = "01";

/// Tells people's connections from bots'.
#[derive(Debug)]
pub(super) struct Gate {
    /// User of every bot's process.
    bots: u32,
    /// User of this process.
    me: u32,
    has_warned: AtomicBool,
}

/// What the kernel knows of the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Peer {
    uid: u32,
    inode: u64,
    is_open: bool,
}

impl Gate {
    /// A gate for bots that run as the user `bots`.
    pub(super) fn new(bots: u32) -> io::Result<Self> {
        let me = fs::metadata("/proc/self")?.uid();
        Ok(Self { bots, me, has_warned: AtomicBool::new(false) })
    }

    /// Whether a connection may be served. Blocking, for about a millisecond.
    pub(super) fn admits(&self, connection: &TcpStream) -> bool {
        let (Ok(peer), Ok(local)) = (connection.peer_addr(), connection.local_addr()) else { return false };
        let is_admitted = match find(peer, local) {
            Some(found) => self.is_no_bot(found),
            // From another machine, or from a process of this one that is gone already.
            None => !is_local(peer.ip()),
        };
        if is_admitted {
            return true;
        }
        if self.has_warned.swap(true, Relaxed) {
            debug!(%peer, "a connection was turned away");
        } else {
            warn!(%peer, "turned away a connection to the API that came from a bot; more of them are logged as debug");
        }
        false
    }

    fn is_no_bot(&self, peer: Peer) -> bool {
        if !peer.is_open || peer.inode == 0 {
            return false;
        }
        if peer.uid != self.bots {
            return true;
        }
        // A user of their own tells bots from people; where both are one user, bots are in another process namespace.
        self.bots == self.me && is_held_beside_us(peer.inode)
    }
}

/// The other end of a connection, if it is on this machine.
fn find(peer: SocketAddr, local: SocketAddr) -> Option<Peer> {
    let wanted = (plain(peer), plain(local));
    TABLES.iter().filter_map(|table| fs::read_to_string(table).ok()).find_map(|table| find_in(&table, wanted))
}

fn find_in(table: &str, wanted: (SocketAddr, SocketAddr)) -> Option<Peer> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, its, ours, state, _, _, _, uid, _, inode, ..] = fields[..] else { return None };
        if (address(its)?, address(ours)?) != wanted {
            return None;
        }
        Some(Peer { uid: uid.parse().ok()?, inode: inode.parse().ok()?, is_open: state == ESTABLISHED })
    })
}

/// An address of the table: words in the machine's byte order, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(host.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes());
    let ip = if host.len() == 8 {
        IpAddr::from(word(0)?)
    } else {
        let words = [word(0)?, word(1)?, word(2)?, word(3)?];
        IpAddr::from(<[u8; 16]>::try_from(words.concat()).ok()?)
    };
    Some(plain(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?)))
}

/// Without the form IPv6 sockets give addresses of IPv4.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

/// Whether a process in our own process namespace has this socket open. Those that cannot be looked into do not count.
fn is_held_beside_us(inode: u64) -> bool {
    let Ok(ours) = fs::read_link("/proc/self/ns/pid") else { return false };
    let socket = format!("socket:[{inode}]");
    let holds = |process: &Path| {
        let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| *target == *socket)
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut beside_us =
        processes.filter(|process| fs::read_link(process.join("ns/pid")).is_ok_and(|ns| ns == ours));
    beside_us.any(|process| holds(&process))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream as Std};

    use super::*;

    /// A connection: the end that asks, and the end that is asked.
    fn connection(address: &str) -> (Std, Std) {
        let listener = TcpListener::bind(address).unwrap();
        let asks = Std::connect(listener.local_addr().unwrap()).unwrap();
        let (asked, _) = listener.accept().unwrap();
        (asks, asked)
    }

    fn peer_of(asked: &Std) -> Option<Peer> {
        find(asked.peer_addr().unwrap(), asked.local_addr().unwrap())
    }

    fn gate(bots: u32) -> Gate {
        Gate::new(bots).unwrap()
    }

    #[test]
    fn the_other_end_is_found_and_its_user_known() {
        let (_asks, asked) = connection("127.0.0.1:0");
        let peer = peer_of(&asked).unwrap();
        let me = gate(0).me;
        assert!(peer.is_open && peer.uid == me && peer.inode != 0, "{peer:?}");
        assert!(gate(me + 1).is_no_bot(peer), "bots are another user");
        assert!(gate(me).is_no_bot(peer), "the same user, but beside us");
        assert!(!Gate { me: me + 1, ..gate(me) }.is_no_bot(peer), "bots' own user");
    }

    #[test]
    fn who_has_gone_is_not_admitted() {
        let (asks, asked) = connection("127.0.0.1:0");
        drop(asks);
        assert!(peer_of(&asked).is_none_or(|peer| !gate(1).is_no_bot(peer)));
        assert!(is_local(asked.peer_addr().unwrap().ip()));
        assert!(!is_local("192.0.2.200".parse().unwrap()), "an address for documentation is nobody's");
    }

    #[test]
    fn both_kinds_of_addresses_are_read() {
        assert_eq!(address("0100007F:C383"), Some("127.0.0.1:50051".parse().unwrap()));
        assert_eq!(
            address("0000000000000000FFFF00000100007F:0050"),
            Some("127.0.0.1:80".parse().unwrap()),
            "IPv4 on a socket of IPv6"
        );
        assert_eq!(address("00000000000000000000000001000000:0001"), Some("[::1]:1".parse().unwrap()));
        assert_eq!(address("nonsense"), None);
    }
}
