//! `rscore health`: asks the server on this machine how it is, for the health
//! check of a container, whose image has no HTTP client.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::arguments::{SettingsArguments, flag_value};
use super::output;
use crate::config::FlagValue;
use crate::config::reference::flag_help;

/// How long the server may take for each step of its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Longest answer that is read: the readiness of some thousands of models.
const LONGEST_ANSWER: u64 = 1024 * 1024;

/// Ask the server on this machine whether it lives (exit code 0) or not (1)
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    rscore health\n  \
    rscore health --ready\n  \
    rscore health --admin-listen 127.0.0.1:9090")]
pub struct HealthArguments {
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArguments,
    #[arg(long, value_name = "ADDRESS", help = flag_help("server.admin_listen"))]
    admin_listen: Option<String>,
    /// Ask whether every default model can be scored, instead of whether the process lives
    #[arg(long)]
    ready: bool,
}

impl HealthArguments {
    /// The flags that stand for settings.
    pub fn flags(&self) -> Vec<FlagValue> {
        flag_value("server.admin_listen", "--admin-listen", self.admin_listen.as_ref()).into_iter().collect()
    }
}

/// Asks, and prints what the server says.
pub fn run(arguments: &HealthArguments, operator: SocketAddr) -> ExitCode {
    let address = reachable(operator);
    match ask(address, if arguments.ready { "/readyz" } else { "/livez" }) {
        Ok(Answer { healthy: true, text }) => output::print(&format!("{text}\n")),
        Ok(Answer { text, .. }) => output::fail(&text),
        Err(error) => output::fail(&format!("no server answers on {address}: {error}")),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    healthy: bool,
    text: String,
}

/// Where a listener of all addresses can be reached on this machine.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let address = match listener.ip() {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    };
    SocketAddr::new(address, listener.port())
}

fn ask(address: SocketAddr, path: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // HTTP/1.0: the answer is neither chunked nor kept open.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what answers there does not speak HTTP"))
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut words = head.lines().next()?.split(' ');
    if !words.next()?.starts_with("HTTP/") {
        return None;
    }
    Some(Answer { healthy: words.next()? == "200", text: body.trim_end().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_all_addresses_is_asked_on_loopback() {
        for (listener, reached) in
            [("0.0.0.0:9090", "127.0.0.1:9090"), ("[::]:9090", "[::1]:9090"), ("10.1.2.3:9090", "10.1.2.3:9090")]
        {
            let listener: SocketAddr = listener.parse().expect("an address");
            assert_eq!(reachable(listener).to_string(), reached);
        }
    }

    #[test]
    fn only_200_is_healthy() {
        let answer = |head: &str| parse(&format!("{head}\r\nContent-Length: 5\r\n\r\nalive\n"));
        assert_eq!(answer("HTTP/1.1 200 OK"), Some(Answer { healthy: true, text: "alive".to_owned() }));
        assert_eq!(
            answer("HTTP/1.1 503 Service Unavailable"),
            Some(Answer { healthy: false, text: "alive".to_owned() })
        );
        for strange in ["SSH-2.0 200 x", "HTTP/1.1"] {
            assert_eq!(answer(strange), None);
        }
        assert_eq!(parse("HTTP/1.1 200 OK"), None, "the head is cut short");
    }
}
