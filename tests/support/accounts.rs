//! The operator's own account on the API server.

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use testbed::Testbed;

/// A client with the operator's account, which has the rights of the chart and no more.
pub async fn operator_client(testbed: &Testbed) -> Client {
    let config = Kubeconfig::read_from(testbed.cluster.operator_kubeconfig()).expect("the kubeconfig was written");
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.expect("the kubeconfig is whole");
    Client::try_from(config).expect("a client is made")
}

/// The API server's URL, as the operator is given it.
pub fn api_server(testbed: &Testbed) -> String {
    let kubeconfig = std::fs::read_to_string(testbed.cluster.operator_kubeconfig()).expect("the kubeconfig was written");
    let url = kubeconfig.split(['"', ' ', '\n']).find(|word| word.starts_with("https://"));
    url.unwrap_or_else(|| panic!("expected an https:// URL in: {kubeconfig}")).to_owned()
}
