//! Programs that run in the peer's namespace: servers that nobody here wrote, and a receiver that reports what it got.
//!
//! A program is ready when its constructor returns (it said so, or its sockets were bound), so nothing waits for a time.

use std::io::{self, BufRead, BufReader};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use thiserror::Error;

use super::netns::{NetnsError, PeerNet};

/// How long a program may take to say that it is ready.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Accepts connections one after the other, reads each to its end and prints one line: SHA-256 and length.
const UPLOAD_RECEIVER: &str = r#"
import hashlib, socket, sys
server = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind((sys.argv[1], int(sys.argv[2])))
server.listen(64)
print("ready", flush=True)
while True:
    connection, _ = server.accept()
    digest, length = hashlib.sha256(), 0
    try:
        while data := connection.recv(65536):
            digest.update(data)
            length += len(data)
        connection.close()
        print(digest.hexdigest(), length, flush=True)
    except OSError as error:
        print("error", error, flush=True)
"#;

/// Connects, sends so many bytes of the pattern 0, 1, .. 250, 0, 1, .. and closes when the other end has.
const UPLOAD_SENDER: &str = r#"
import socket, sys
host, port, length = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
data = (bytes(range(251)) * (length // 251 + 1))[:length]
print("ready", flush=True)
connection = socket.create_connection((host, port))
connection.sendall(data)
connection.shutdown(socket.SHUT_WR)
while connection.recv(65536):
    pass
"#;

/// Why a program does not run.
#[derive(Debug, Error)]
pub enum PeerError {
    /// It could not be started.
    #[error("cannot start `{program}` in the peer's namespace: {source}")]
    Spawn {
        /// The program.
        program: &'static str,
        /// Reason.
        #[source]
        source: io::Error,
    },
    /// It ended, or said nothing, before it was ready.
    #[error("`{program}` did not become ready: {message}")]
    NotReady {
        /// The program.
        program: &'static str,
        /// Its last words.
        message: String,
    },
    /// The namespace refused.
    #[error(transparent)]
    Netns(#[from] NetnsError),
}

/// A running program. Killed when dropped.
#[derive(Debug)]
pub struct PeerProcess {
    program: &'static str,
    child: Child,
    lines: Receiver<String>,
}

/// What the upload receiver reports about one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadReport {
    /// SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
    /// Number of bytes.
    pub len_bytes: u64,
}

impl PeerProcess {
    /// Python's own HTTP server on the peer's address, serving `directory`.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn http_server(net: &PeerNet, port: u16, directory: &Path) -> Result<Self, PeerError> {
        let mut command = net.command(python());
        command.args(["-u", "-m", "http.server", &port.to_string()]);
        command.args(["--bind", &net.config().peer_ip.to_string(), "--directory"]).arg(directory);
        Self::start("python3 -m http.server", command, "Serving HTTP")
    }

    /// A receiver of uploads on the peer's address; see [`PeerProcess::take_upload`].
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn upload_receiver(net: &PeerNet, port: u16) -> Result<Self, PeerError> {
        let mut command = net.command(python());
        command.args(["-u", "-c", UPLOAD_RECEIVER, &net.config().peer_ip.to_string(), &port.to_string()]);
        Self::start("python3 (upload receiver)", command, "ready")
    }

    /// A sender to the other end's `port`: `len_bytes` of a fixed pattern, see [`pattern_bytes`].
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn upload_sender(net: &PeerNet, port: u16, len_bytes: u64) -> Result<Self, PeerError> {
        let mut command = net.command(python());
        let (to, port, length) = (net.config().host_ip.to_string(), port.to_string(), len_bytes.to_string());
        command.args(["-u", "-c", UPLOAD_SENDER, &to, &port, &length]);
        Self::start("python3 (upload sender)", command, "ready")
    }

    /// `socat | sha256sum` on the peer's address: takes one upload; see [`PeerProcess::take_sha256`].
    ///
    /// # Errors
    /// [`PeerError`], also when socat is not installed.
    pub fn sha256_sink(net: &PeerNet, port: u16) -> Result<Self, PeerError> {
        let mut command = net.command("sh");
        // socat's notices and the sum go to the same pipe; the notice "listening on" says that it is ready.
        let script = "{ socat -d -d -u $1,reuseaddr STDOUT | sha256sum; } 2>&1 \
                      | sed -u -e 's/.*listening on/ready/'";
        let listen = match net.config().peer_ip {
            IpAddr::V4(ip) => format!("TCP4-LISTEN:{port},bind={ip}"),
            IpAddr::V6(ip) => format!("TCP6-LISTEN:{port},bind=[{ip}]"),
        };
        command.args(["-c", script, "sha256-sink", &listen]);
        Self::start("socat | sha256sum", command, "ready")
    }

    /// The sum that [`PeerProcess::sha256_sink`] printed, in hexadecimal, if it has.
    ///
    /// # Errors
    /// [`PeerError::NotReady`] when the programs ended without one.
    pub fn take_sha256(&mut self) -> Result<Option<String>, PeerError> {
        loop {
            match self.lines.try_recv() {
                Ok(line) => {
                    let sum = line.split_whitespace().next().unwrap_or("");
                    if sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit()) {
                        return Ok(Some(sum.to_owned()));
                    }
                }
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => {
                    return Err(PeerError::NotReady { program: self.program, message: "it ended".to_owned() })
                }
            }
        }
    }

    /// The report about the next finished upload, if it is there. `Ok(None)` = not yet.
    ///
    /// # Errors
    /// [`PeerError::NotReady`] when the program ended or reported an error.
    pub fn take_upload(&mut self) -> Result<Option<UploadReport>, PeerError> {
        let program = self.program;
        let line = match self.lines.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Empty) => return Ok(None),
            Err(TryRecvError::Disconnected) => {
                return Err(PeerError::NotReady { program, message: "it ended".to_owned() })
            }
        };
        let report = line.split_once(' ').and_then(|(hash, length)| {
            let len_bytes = length.parse().ok()?;
            (hash.len() == 64).then(|| UploadReport { sha256: hash.to_owned(), len_bytes })
        });
        report.map(Some).ok_or(PeerError::NotReady { program, message: line })
    }

    /// The next line that the program prints, waiting for it at most `limit`.
    pub fn wait_line(&mut self, limit: Duration) -> Option<String> {
        self.lines.recv_timeout(limit).ok()
    }

    /// Is it still running?
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// End it without warning.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn start(program: &'static str, mut command: Command, ready: &str) -> Result<Self, PeerError> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|source| PeerError::Spawn { program, source })?;
        let stdout = child.stdout.take();
        let (sender, lines) = mpsc::channel();
        // Ends when the program closes its output, at the latest when it is killed.
        std::thread::spawn(move || {
            let reader = stdout.into_iter().flat_map(|s| BufReader::new(s).lines().map_while(Result::ok));
            for line in reader {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut this = Self { program, child, lines };
        loop {
            match this.lines.recv_timeout(START_LIMIT) {
                Ok(line) if line.starts_with(ready) => return Ok(this),
                Ok(_) => (),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(PeerError::NotReady { program, message: "it said nothing".to_owned() })
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let message =
                        this.child.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
                    return Err(PeerError::NotReady { program, message });
                }
            }
        }
    }
}

impl Drop for PeerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What [`PeerProcess::upload_sender`] sends: a prime period, so that no misplaced segment or page looks right.
pub fn pattern_bytes(len_bytes: u64) -> Vec<u8> {
    // `as`: below 251.
    (0..len_bytes).map(|i| (i % 251) as u8).collect()
}

/// Start nginx in the peer's namespace, serving `directory` on the peer's address; `scratch` holds its files. It runs until
/// the namespace is deleted. Returns when its sockets are bound.
///
/// # Errors
/// [`PeerError`], also when nginx is not installed.
pub fn start_nginx(net: &PeerNet, port: u16, directory: &Path, scratch: &Path) -> Result<(), PeerError> {
    let (dir, tmp) = (directory.display(), scratch.display());
    let config = format!(
        "pid {tmp}/nginx.pid;\nerror_log {tmp}/error.log;\nworker_processes 1;\nuser root;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off; client_body_temp_path {tmp}/b; proxy_temp_path {tmp}/p; fastcgi_temp_path {tmp}/f;\n\
         uwsgi_temp_path {tmp}/u; scgi_temp_path {tmp}/s; default_type application/octet-stream; sendfile on;\n\
         server {{ listen {}:{port}; root {dir}; }} }}\n",
        net.config().peer_ip
    );
    let path = scratch.join("nginx.conf");
    std::fs::write(&path, config).map_err(|source| PeerError::Spawn { program: "nginx", source })?;
    // nginx binds its sockets before the starting process returns and the daemon goes on.
    net.run("nginx", &["-p", &tmp.to_string(), "-c", &path.to_string_lossy()])?;
    Ok(())
}

/// The system's Python if there is one: version managers put slow wrappers first in the path.
fn python() -> &'static str {
    const SYSTEM: &str = "/usr/bin/python3";
    if Path::new(SYSTEM).exists() {
        SYSTEM
    } else {
        "python3"
    }
}
