//! Blob storage on this machine: Azurite for Azure, moto for S3. Each is started
//! once for the whole binary, on a port that it chooses itself, and ends with
//! it: its wrapper reads standard input, which the kernel closes when this
//! process ends, however it does.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc;

use object_store::HeaderValue;
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{HttpRequest, HttpRequestBody};
use rscore::config::ProviderVariables;
use rscore::config::settings::StoreSettings;
use rscore::store::{Location, Store};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::client::{Connection, Request};
use super::{DEADLINE, within_deadline};

/// Account of the Azure emulator.
const ACCOUNT: &str = "rscore";

/// Runs a command until standard input is closed.
const UNTIL_INPUT_CLOSES: &str = "\"$@\" & server=$!; cat >/dev/null; kill $server; wait $server";

static AZURE: LazyLock<Emulator> = LazyLock::new(|| {
    // Base64 of a key that this run made up.
    let key = Uuid::now_v7().simple().to_string();
    let mut command = wrapped("node");
    command
        .arg(installed("tools/node_modules/azurite/dist/src/blob/main.js"))
        .args(["--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence"])
        .args(["--skipApiVersionCheck", "--disableTelemetry"])
        .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{key}"));
    Emulator::start(command, key)
});

static S3: LazyLock<Emulator> = LazyLock::new(|| {
    let mut command = wrapped(installed("venv/bin/moto_server").to_str().expect("a path in UTF-8"));
    command.args(["-H", "127.0.0.1", "-p", "0"]);
    Emulator::start(command, Uuid::now_v7().simple().to_string())
});

/// A running emulator.
struct Emulator {
    address: SocketAddr,
    key: String,
    /// Ends with its standard input.
    _child: Child,
}

/// An empty container or bucket, and how to reach it.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// `az://name` or `s3://name`.
    pub url: String,
    /// Where the emulator listens.
    pub address: SocketAddr,
    /// For the environment of who uses it.
    pub variables: Vec<(String, String)>,
}

impl Bucket {
    /// A container of the Azure emulator.
    pub async fn azure() -> Self {
        let (emulator, name) = (&*AZURE, fresh_name());
        let path = format!("/{ACCOUNT}/{name}?restype=container");
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = "PUT".parse().expect("a method");
        *request.uri_mut() = format!("http://{}{path}", emulator.address).parse().expect("a URL");
        request.headers_mut().insert("content-length", HeaderValue::from_static("0"));
        let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(&emulator.key).expect("a key"));
        AzureAuthorizer::new(&credential, ACCOUNT).try_authorize(&mut request).expect("a signature");
        let headers = request.headers().iter();
        let send = headers.fold(Request::new("PUT", &path).without("Host"), |send, (name, value)| {
            send.header(name.as_str(), value.to_str().expect("a value in ASCII"))
        });
        emulator.create(send).await;
        Self::new(format!("az://{name}"), emulator.address, |address| {
            vec![
                ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.to_owned()),
                ("AZURE_STORAGE_ACCOUNT_KEY", emulator.key.clone()),
                ("AZURE_STORAGE_ENDPOINT", format!("http://{address}/{ACCOUNT}")),
            ]
        })
    }

    /// A bucket of the S3 emulator.
    pub async fn s3() -> Self {
        let (emulator, name) = (&*S3, fresh_name());
        emulator.create(Request::new("PUT", &format!("/{name}")).body("")).await;
        Self::new(format!("s3://{name}"), emulator.address, |address| {
            vec![
                ("AWS_ACCESS_KEY_ID", "tester".to_owned()),
                ("AWS_SECRET_ACCESS_KEY", emulator.key.clone()),
                ("AWS_REGION", "us-east-1".to_owned()),
                ("AWS_ENDPOINT_URL", format!("http://{address}")),
            ]
        })
    }

    fn new(url: String, address: SocketAddr, variables: impl Fn(SocketAddr) -> Vec<(&'static str, String)>) -> Self {
        let variables = variables(address).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { url, address, variables }
    }

    /// The variables with one of them replaced.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(present, _)| present != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes an object of the S3 emulator by a key that no client would send.
    pub async fn put_raw(&self, encoded_key: &str, text: &str) {
        let bucket = self.url.trim_start_matches("s3://");
        S3.create(Request::new("PUT", &format!("/{bucket}/{encoded_key}")).body(text)).await;
    }

    /// The same bucket behind another address.
    pub fn behind(mut self, address: SocketAddr) -> Self {
        let (old, new) = (self.address.to_string(), address.to_string());
        for (_, value) in &mut self.variables {
            *value = value.replace(&old, &new);
        }
        Self { address, ..self }
    }

    /// What the variables are to the program.
    pub fn provider_variables(&self) -> ProviderVariables {
        self.variables.iter().cloned().collect()
    }

    /// A handle that is told of a failure at once.
    pub fn store(&self) -> Store {
        let settings = StoreSettings { max_retries: 0, ..StoreSettings::default() };
        let location = Location::parse(&self.url).expect("a location");
        Store::open(&location, &settings, &self.provider_variables()).expect("a store")
    }
}

impl Emulator {
    /// Starts it and waits until it says where it listens.
    fn start(mut command: Command, key: String) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .spawn()
            .expect("a shell");
        let (sender, lines) = mpsc::channel();
        let pipes: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("a pipe")), Box::new(child.stderr.take().expect("a pipe"))];
        for pipe in pipes {
            let sender = sender.clone();
            // Reads to the end, so that the emulator never waits for a reader.
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        drop(sender);
        let mut said = Vec::new();
        let address = loop {
            let line = lines.recv_timeout(DEADLINE);
            let line = line.unwrap_or_else(|_| panic!("the emulator did not start: {}", said.join("\n")));
            let address = line.split_once("http://").map(|(_, rest)| rest.trim_end_matches('/'));
            match address.and_then(|address| address.parse().ok()) {
                Some(address) => break address,
                None => said.push(line),
            }
        };
        Self { address, key, _child: child }
    }

    /// Sends a request that makes a container or bucket.
    async fn create(&self, request: Request) {
        let reply = within_deadline("a new bucket", async {
            let stream = TcpStream::connect(self.address).await.expect("a connection");
            Connection { stream: Box::new(stream) }.send(&request.header("Connection", "close")).await
        })
        .await;
        assert!(matches!(reply.status, 200 | 201), "{}: {}", reply.status, reply.text());
    }
}

fn fresh_name() -> String {
    Uuid::now_v7().simple().to_string()
}

fn wrapped(program: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", UNTIL_INPUT_CLOSES, "emulator", program]);
    command
}

/// A file that `scripts/setup test` brings.
fn installed(path: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the build folder");
    let path = target.join(path);
    assert!(path.exists(), "{} is missing; run scripts/setup test", path.display());
    path
}
