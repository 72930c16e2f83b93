//! A Kubernetes control plane: etcd, kube-apiserver, kube-controller-manager. No kubelet: pods stay Pending, unless `pods` plays it.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::parts::Parts;
use crate::process::{Server, free_ports, retrying};
use crate::rights::Right;
use crate::scratch::Scratch;

const ADMIN_TOKEN: &str = "testbed-admin";
/// Where the chart is installed.
pub const SYSTEM_NAMESPACE: &str = "stream-pipeline-system";
pub const RELEASE: &str = "stream-pipeline-operator";

/// A control plane that ends with its owner.
pub struct Cluster {
    // Stopped in this order.
    controllers: Mutex<Option<Server>>,
    api_server: Mutex<Option<Server>>,
    etcd: Mutex<Option<Server>>,
    dir: Scratch,
    bin: PathBuf,
    /// etcd's for clients and for peers, and the API server's.
    ports: [u16; 3],
}

impl Cluster {
    pub fn start(parts: &Parts) -> Result<Self> {
        retrying(|| Self::try_start(parts))
    }

    fn try_start(parts: &Parts) -> Result<Self> {
        let dir = Scratch::new("cluster")?;
        let ports = free_ports(3)?;
        let ports = [ports[0], ports[1], ports[2]];
        service_account_key(dir.path())?;
        fs::write(dir.path().join("tokens.csv"), format!("{ADMIN_TOKEN},admin,admin,\"system:masters\"\n"))?;
        fs::write(dir.path().join("audit.yaml"), AUDIT)?;
        let server = || Mutex::new(None);
        let cluster = Self { controllers: server(), api_server: server(), etcd: server(), dir, bin: parts.bin.clone(), ports };
        cluster.start_etcd()?;
        cluster.start_api_server()?;
        cluster.start_controllers()?;
        Ok(cluster)
    }

    /// On the data of an earlier one, where there was one.
    pub fn start_etcd(&self) -> Result<()> {
        let [client, peer, _] = self.ports;
        let url = format!("http://127.0.0.1:{client}");
        let mut command = Command::new(self.bin.join("etcd"));
        // Thousands of large records, each in the versions of some minutes, are more than the 2 GiB that it allows by itself.
        command.args(["--unsafe-no-fsync", "--quota-backend-bytes", "8589934592"]).arg("--data-dir").arg(self.file("etcd"));
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url, "--log-level", "error"]);
        command.args(["--listen-peer-urls", &format!("http://127.0.0.1:{peer}")]);
        let mut etcd = Server::start("etcd", command, &self.dir.path().join("etcd.log"))?;
        etcd.wait(Duration::from_secs(60), || TcpStream::connect(("127.0.0.1", client)).is_ok())?;
        *held(&self.etcd) = Some(etcd);
        Ok(())
    }

    /// On the same port as an earlier one, with its certificate and keys.
    pub fn start_api_server(&self) -> Result<()> {
        let [etcd, _, secure] = self.ports;
        let mut command = Command::new(self.bin.join("kube-apiserver"));
        // A sixth of its time goes into collecting garbage by itself.
        command.env("GOGC", "200");
        command.args([
            "--etcd-servers",
            &format!("http://127.0.0.1:{etcd}"),
            "--bind-address",
            "127.0.0.1",
            "--authorization-mode",
            "RBAC",
            "--service-cluster-ip-range",
            "10.96.0.0/24",
        ]);
        let file = |name: &str| self.file(name);
        command.args(["--secure-port", &secure.to_string(), "--cert-dir", &file("certs"), "--service-account-issuer", "https://testbed"]);
        command.args(["--service-account-key-file", &file("sa.key"), "--service-account-signing-key-file", &file("sa.key")]);
        command.args([
            "--token-auth-file",
            &file("tokens.csv"),
            "--audit-policy-file",
            &file("audit.yaml"),
            "--audit-log-path",
            &file("audit.log"),
        ]);
        let mut server = Server::start("kube-apiserver", command, &self.dir.path().join("kube-apiserver.log"))?;
        server.wait(Duration::from_secs(60), || self.ca().is_file())?;
        write_kubeconfig(&self.kubeconfig(), self.dir.path(), secure, ADMIN_TOKEN)?;
        let ready = || self.kubectl(&["get", "--raw", "/readyz"]).is_ok_and(|o| o.status.success());
        let served = server.wait(Duration::from_secs(60), ready);
        // Without its own etcd, that is the one to hear.
        held(&self.etcd).as_mut().map_or(Ok(()), Server::check)?;
        served?;
        *held(&self.api_server) = Some(server);
        Ok(())
    }

    fn start_controllers(&self) -> Result<()> {
        let mut command = Command::new(self.bin.join("kube-controller-manager"));
        let file = |name: &str| self.file(name);
        command.args(["--kubeconfig", &file("admin.kubeconfig"), "--service-account-private-key-file", &file("sa.key")]);
        command.args([
            "--root-ca-file",
            &file("certs/apiserver.crt"),
            "--secure-port",
            "0",
            "--leader-elect=false",
            "--use-service-account-credentials",
            // It would remove the pods that the player binds to a node that is not there.
            "--controllers=*,-pod-garbage-collector-controller",
        ]);
        let log = self.dir.path().join("kube-controller-manager.log");
        *held(&self.controllers) = Some(Server::start("kube-controller-manager", command, &log)?);
        Ok(())
    }

    /// SIGKILL.
    pub fn kill_etcd(&self) {
        *held(&self.etcd) = None;
    }

    /// A snapshot of etcd, which is not running now, or back to one.
    pub fn copy_etcd(&self, back: bool) -> Result<()> {
        let (data, copy) = (self.dir.path().join("etcd"), self.dir.path().join("etcd.snapshot"));
        let (from, to) = if back { (copy, data) } else { (data, copy) };
        if to.exists() {
            fs::remove_dir_all(&to)?;
        }
        let copied = Command::new("cp").arg("-a").args([&from, &to]).status().context("running cp")?;
        ensure!(copied.success(), "cp -a {} {}", from.display(), to.display());
        Ok(())
    }

    /// SIGKILL.
    pub fn kill_api_server(&self) {
        *held(&self.api_server) = None;
    }

    pub fn stop(&self) {
        *held(&self.controllers) = None;
        self.kill_api_server();
        self.kill_etcd();
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// CRDs and the rights of the chart, and a kubeconfig under its ServiceAccount. The Deployment is left out.
    pub fn install(&self) -> Result<()> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let chart = source.join("charts/stream-pipeline-operator");
        let rendered = Command::new(self.bin.join("helm"))
            .args(["template", RELEASE])
            .arg(&chart)
            .args(["-n", SYSTEM_NAMESPACE])
            .output()
            .context("running helm")?;
        ensure!(rendered.status.success(), "helm template: {}", String::from_utf8_lossy(&rendered.stderr));
        let text = String::from_utf8(rendered.stdout).context("helm wrote no UTF-8")?;
        let rights: Vec<_> = text
            .split("\n---")
            .filter(|part| {
                !["kind: Deployment", "kind: CustomResourceDefinition", "helm.sh/hook:"].iter().any(|left_out| part.contains(left_out))
            })
            .collect();
        let file = self.dir.path().join("rights.yaml");
        fs::write(&file, rights.join("\n---"))?;
        let crds = source.join("crds");
        let (crds, file) = (crds.display().to_string(), file.display().to_string());
        self.admin(&["apply", "--server-side", "-f", &crds])?;
        self.admin(&["wait", "--for=condition=Established", "--timeout=60s", "-f", &crds])?;
        self.admin(&["create", "namespace", SYSTEM_NAMESPACE])?;
        self.admin(&["apply", "--server-side", "-f", &file])?;
        if let Ok(right) = std::env::var("TESTBED_WITHOUT_RIGHT") {
            self.take(&right)?;
        }
        let token = self.admin(&["create", "token", RELEASE, "-n", SYSTEM_NAMESPACE, "--duration", "24h"])?;
        let port = self.port()?;
        write_kubeconfig(&self.operator_kubeconfig(), self.dir.path(), port, token.trim())
    }

    /// Takes this right from the operator's account, as in [`Right`].
    fn take(&self, right: &str) -> Result<()> {
        let taken = Right::parse(right).with_context(|| format!("{right} is no right"))?;
        let list =
            self.admin(&["get", "clusterroles,roles", "-A", "-o", "json", "-l", &format!("app.kubernetes.io/instance={RELEASE}")])?;
        let mut list: Value = serde_json::from_str(&list).context("kubectl writes JSON")?;
        let mut changed = Vec::new();
        for role in list["items"].as_array_mut().into_iter().flatten() {
            // Those of people stay.
            if let (None, Some(left)) = (role["metadata"]["labels"].as_object().and_then(aggregated), taken.taken_from(&role["rules"])) {
                role["rules"] = left;
                changed.push(role.take());
            }
        }
        ensure!(!changed.is_empty(), "no role of the chart has the right {right}");
        let file = self.dir.path().join("without.json");
        fs::write(&file, json!({ "apiVersion": "v1", "kind": "List", "items": changed }).to_string())?;
        self.admin(&["replace", "-f", &file.display().to_string()]).map(drop)
    }

    fn port(&self) -> Result<u16> {
        let text = fs::read_to_string(self.kubeconfig())?;
        let port = text.split("127.0.0.1:").nth(1).and_then(|rest| rest.split('"').next()).context("no port in the kubeconfig")?;
        Ok(port.parse()?)
    }

    fn admin(&self, args: &[&str]) -> Result<String> {
        let begun = Instant::now();
        loop {
            let output = self.kubectl(args)?;
            if output.status.success() {
                return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
            }
            // What was created an instant ago is not known everywhere at once.
            if begun.elapsed() > Duration::from_secs(20) {
                bail!("kubectl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    pub fn kubectl(&self, args: &[&str]) -> Result<Output> {
        let mut command = Command::new(self.bin.join("kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(args).stdin(std::process::Stdio::null()).output().context("running kubectl")
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("admin.kubeconfig")
    }

    pub fn operator_kubeconfig(&self) -> PathBuf {
        self.dir.path().join("operator.kubeconfig")
    }

    pub fn audit_log(&self) -> PathBuf {
        self.dir.path().join("audit.log")
    }

    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("certs/apiserver.crt")
    }
}

/// A label by which a role is added to those of people.
fn aggregated(labels: &serde_json::Map<String, Value>) -> Option<&String> {
    labels.keys().find(|name| name.starts_with("rbac.authorization.k8s.io/aggregate-to-"))
}

fn held(server: &Mutex<Option<Server>>) -> MutexGuard<'_, Option<Server>> {
    server.lock().expect("no panic under this lock")
}

/// Who wrote what: enough to count the writes of one reset.
const AUDIT: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- level: Metadata\n  verbs: [create, update, patch, delete, deletecollection]\n- level: None\n";

fn service_account_key(dir: &Path) -> Result<()> {
    let key = dir.join("sa.key");
    let made = Command::new("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048").output();
    if made.is_ok_and(|o| o.status.success()) {
        return Ok(());
    }
    // Without openssl the JDK makes one.
    let class = dir.join("Key.java");
    fs::write(&class, KEY_PROGRAM)?;
    let made = Command::new("java").arg(&class).output().context("running java")?;
    ensure!(made.status.success(), "making a key: {}", String::from_utf8_lossy(&made.stderr));
    fs::write(key, made.stdout).context("writing the key")
}

const KEY_PROGRAM: &str = r#"class Key { public static void main(String[] a) throws Exception {
    var g = java.security.KeyPairGenerator.getInstance("RSA"); g.initialize(2048);
    System.out.println("-----BEGIN PRIVATE KEY-----\n" + java.util.Base64.getMimeEncoder(64, new byte[]{10}).encodeToString(g.generateKeyPair().getPrivate().getEncoded()) + "\n-----END PRIVATE KEY-----");
} }
"#;

fn write_kubeconfig(to: &Path, dir: &Path, port: u16, token: &str) -> Result<()> {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: testbed\n\
         clusters: [{{name: testbed, cluster: {{server: \"https://127.0.0.1:{port}\", certificate-authority: \"{}\"}}}}]\n\
         users: [{{name: testbed, user: {{token: \"{token}\"}}}}]\n\
         contexts: [{{name: testbed, context: {{cluster: testbed, user: testbed}}}}]\n",
        dir.join("certs/apiserver.crt").display()
    );
    fs::write(to, text).with_context(|| format!("writing {}", to.display()))
}
