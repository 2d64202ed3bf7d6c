//! An S3 server as a process: this test program, told by a variable to be one.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::{S3Auth, SecretKey, SimpleAuth};
use s3s::service::S3ServiceBuilder;
use s3s::{S3Error, S3ErrorCode, S3Result};
use s3s_fs::FileSystem;

const ROOT: &str = "KV_STORE_TEST_S3_ROOT";
/// While this file is in its root, the server answers every request with the error that the file names.
const TROUBLE: &str = "trouble";
const READY: &str = "serving on ";
pub const ACCESS_KEY: &str = "test-access";
pub const SECRET_KEY: &str = "test-secret";

/// A server, killed when dropped.
pub struct Server {
    child: Child,
    /// `http://127.0.0.1:PORT`.
    pub endpoint: String,
}

impl Server {
    /// Serves the folders below `root` as buckets.
    pub fn start(root: &Path) -> Server {
        let program = std::env::current_exe().unwrap();
        let mut child = Command::new(program)
            .args(["--exact", "server::the_server_itself", "--nocapture"])
            .env(ROOT, root)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let endpoint = lines.map_while(Result::ok).find_map(|line| {
            line.split_once(READY).map(|(_, address)| format!("http://{address}"))
        });
        Server { child, endpoint: endpoint.expect("the server says where it is") }
    }

    /// From now on every request fails with this error of S3's; or, with none, succeeds again.
    pub fn trouble(root: &Path, code: Option<&str>) {
        match code {
            Some(code) => std::fs::write(root.join(TROUBLE), code).unwrap(),
            None => std::fs::remove_file(root.join(TROUBLE)).unwrap(),
        }
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Without the variable there is nothing to serve, and nothing to test.
#[test]
fn the_server_itself() {
    if let Some(root) = std::env::var_os(ROOT) {
        tokio::runtime::Runtime::new().unwrap().block_on(serve(Path::new(&root)));
    }
}

/// Who asks is asked for a key first: the place to fail before anything is done.
struct Troubled {
    keys: SimpleAuth,
    file: PathBuf,
}

#[async_trait::async_trait]
impl S3Auth for Troubled {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if let Ok(code) = std::fs::read_to_string(&self.file) {
            let code = S3ErrorCode::from_bytes(code.as_bytes()).expect("an error of S3's");
            return Err(S3Error::new(code));
        }
        self.keys.get_secret_key(access_key).await
    }
}

async fn serve(root: &Path) {
    let mut service = S3ServiceBuilder::new(FileSystem::new(root).unwrap());
    let keys = SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY);
    service.set_auth(Troubled { keys, file: root.join(TROUBLE) });
    let service = service.build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{READY}{}", listener.local_addr().unwrap());
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let service = service.clone();
        tokio::spawn(async move {
            // A client that goes away ends its connection.
            let _ = Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}
