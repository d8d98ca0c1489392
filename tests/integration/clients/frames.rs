//! HTTP/2 frame by frame (RFC 9113), for what no client library would send.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::endpoint::Endpoint;
use crate::support::within_deadline;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// A connection that speaks HTTP/2.
pub struct Http2 {
    stream: TlsStream<TcpStream>,
}

/// A frame that came.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Http2 {
    /// Shakes hands; `settings` are pairs of identifier and value.
    pub async fn connect(endpoint: &Endpoint, settings: &[(u16, u32)]) -> Self {
        let mut tls = (**endpoint.tls.as_ref().unwrap()).clone();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(endpoint.callers).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = within_deadline("a handshake", TlsConnector::from(Arc::new(tls)).connect(name, stream)).await;
        let mut connection = Self { stream: stream.unwrap() };
        let payload: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        let opening = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &payload)].concat();
        assert!(connection.send(&opening).await);
        connection
    }

    /// Whether the server still takes what is sent.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = async { self.stream.write_all(bytes).await.is_ok() && self.stream.flush().await.is_ok() };
        within_deadline("sending", sent).await
    }

    /// The next frame; nothing when the connection is closed.
    pub async fn receive(&mut self) -> Option<Frame> {
        within_deadline("a frame", async {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            Some(Frame { kind: head[3], stream, payload })
        })
        .await
    }

    /// The next frame that is wanted.
    pub async fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.receive().await.expect("the connection is kept");
            if wanted(&frame) {
                return frame;
            }
        }
    }

    /// Waits until the server has closed the connection.
    pub async fn closed(&mut self) {
        while self.receive().await.is_some() {}
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The header block of a `POST`, every field spelled out (RFC 7541, section 6.2.2).
pub fn post(endpoint: &Endpoint, path: &str, length: usize) -> Vec<u8> {
    let (token, length) = (format!("Bearer {}", endpoint.token), length.to_string());
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
        ("authorization", &token),
        ("content-type", "application/json"),
        ("content-length", &length),
    ];
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// A string without Huffman's code, its length in the form of section 5.1.
fn text(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    match text.len() {
        short @ 0..127 => bytes.push(short as u8),
        long => {
            bytes.push(127);
            let mut rest = long - 127;
            while rest >= 128 {
                bytes.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            bytes.push(rest as u8);
        }
    }
    bytes.extend(text.as_bytes());
    bytes
}
