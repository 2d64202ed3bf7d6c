//! A peer as a process: this test program, told by a variable to be one.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use transfer::{Access, Agent, PeerServer};

use super::{limits, token};

const NUM_BYTES: &str = "TRANSFER_TEST_PEER_BYTES";
const READY: &str = "serving on ";

/// A process that shows memory 1; killed when dropped.
pub struct Peer {
    child: Child,
    stdin: Mutex<ChildStdin>,
    lines: Mutex<Lines<BufReader<ChildStdout>>>,
    pub address: SocketAddr,
}

impl Peer {
    pub fn start(num_bytes: usize) -> Peer {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process::the_peer_itself", "--nocapture"])
            .env(NUM_BYTES, num_bytes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = (&mut lines)
            .map_while(Result::ok)
            .find_map(|line| line.split_once(READY).map(|(_, address)| address.parse().unwrap()));
        let stdin = Mutex::new(child.stdin.take().unwrap());
        let address = address.expect("the peer says where it is");
        Peer { child, stdin, lines: Mutex::new(lines), address }
    }

    /// What it was told, by asking it.
    pub fn heard(&self) -> String {
        self.stdin.lock().unwrap().write_all(b"?\n").unwrap();
        self.lines.lock().unwrap().next().unwrap().unwrap()
    }

    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Without the variable there is nothing to serve, and nothing to test.
#[test]
fn the_peer_itself() {
    let Some(num_bytes) = std::env::var_os(NUM_BYTES) else { return };
    let agent = Agent::new(1).unwrap();
    let num_bytes = num_bytes.to_str().unwrap().parse().unwrap();
    agent.register_memory(vec![0; num_bytes], Access::ReadWrite);
    let limits = transfer::Limits { message: Duration::from_secs(10), ..limits() };
    let server = PeerServer::start("127.0.0.1:0", agent.table().clone(), token(), limits).unwrap();
    println!("{READY}{}", server.address());
    for _ in std::io::stdin().lines() {
        let heard = agent.notifications();
        let heard: Vec<_> =
            heard.iter().map(|told| String::from_utf8_lossy(&told.message)).collect();
        println!("{}", heard.join(","));
    }
}
