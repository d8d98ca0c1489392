//! The callers' listener over TLS.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};

use super::harness::{Request, Setup};

/// Configurations of a server with a new certificate and of a client that
/// trusts it.
fn configs() -> (ServerConfig, ClientConfig) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .expect("a certificate with its key");
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone()).expect("a root");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn predictions_over_tls_with_both_protocols_on_offer() {
    let (server_config, client_config) = configs();
    let server = Setup { tls: Some(Arc::new(server_config)), ..Setup::new() }.start().await;
    let address = server.callers;
    let talk = move || {
        let connect = |protocols: &[&[u8]]| {
            let mut config = client_config.clone();
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            let name = ServerName::try_from("localhost").expect("a name");
            let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
            StreamOwned::new(connection, TcpStream::connect(address).expect("connects"))
        };
        let mut stream = connect(&[b"http/1.1"]);
        let request = Request::post("/models/double/predict", "[{\"x\": 4}]").header("Connection", "close");
        stream.write_all(&request.head()).expect("sent");
        stream.write_all(b"[{\"x\": 4}]").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer and a clean end");
        let mut stream = connect(&[b"h2", b"http/1.1"]);
        stream.conn.complete_io(&mut stream.sock).expect("a handshake");
        (answer, stream.conn.alpn_protocol().map(<[u8]>::to_vec))
    };
    let (answer, protocol) = tokio::task::spawn_blocking(talk).await.expect("no panic");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("{\"model\":\"double\",\"version\":1,\"predictions\":[8.0]}"), "{answer}");
    assert_eq!(protocol.as_deref(), Some(b"h2".as_slice()));
}
