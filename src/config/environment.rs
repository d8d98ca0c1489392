//! The process environment as data, so that tests bring their own.

use std::collections::BTreeMap;

use super::problem::{ConfigError, Origin, Problem};

/// Prefix of every name that is ours.
pub const PREFIX: &str = "RSCORE_";

/// Names with our prefix that are not settings: the configuration file, the
/// development switch, and the token that clients and scripts use.
pub const OTHER_NAMES: &[&str] = &[CONFIG_FILE, DEVELOPMENT, "RSCORE_TOKEN", super::engine::RUN_ID];

/// Names the configuration file, as `--config` does.
pub const CONFIG_FILE: &str = "RSCORE_CONFIG";

/// Turns development mode on, as `--dev` does.
pub const DEVELOPMENT: &str = "RSCORE_DEV";

/// Variables whose names begin with [`PREFIX`], by name.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// The variables of this process.
    ///
    /// # Errors
    /// A variable of ours whose value is not UTF-8.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the process environment")]
    pub fn from_process() -> Result<Self, ConfigError> {
        let mut variables = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            match value.into_string() {
                Ok(value) => _ = variables.insert(name.to_owned(), value),
                Err(_) => {
                    let origin = Origin::Environment(name.to_owned());
                    problems.push(Problem::source(name, origin, "the value is not valid UTF-8"));
                }
            }
        }
        if problems.is_empty() { Ok(Self { variables }) } else { Err(ConfigError { problems }) }
    }

    /// The value of a variable; one that is empty counts as not set, because
    /// deployment templates leave those behind.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Our variables that are neither empty, nor on [`OTHER_NAMES`], nor made by Kubernetes.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, value)| !value.is_empty() && !OTHER_NAMES.contains(name) && !is_service_link(name))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self { variables: variables.filter(|(name, _)| name.starts_with(PREFIX)).collect() }
    }
}

/// Whether Kubernetes made the variable for a Service called `rscore` or
/// `rscore-...`: it sets `RSCORE_SERVICE_HOST`, `RSCORE_PORT_8443_TCP_ADDR` and
/// the like in every pod of the namespace (Kubernetes documentation, "Service",
/// "Environment variables"). Settings can't be mistaken for these, since each
/// has a `__`.
fn is_service_link(name: &str) -> bool {
    if name.contains("__") {
        return false;
    }
    let parts: Vec<&str> = name.split('_').skip(1).collect();
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    let is_protocol = |text: &str| matches!(text, "TCP" | "UDP" | "SCTP");
    if parts.windows(2).any(|pair| matches!(pair, ["SERVICE", "HOST" | "PORT"])) {
        return true;
    }
    match parts.as_slice() {
        [.., "PORT"] => true,
        [.., "PORT", port, protocol] => is_port(port) && is_protocol(protocol),
        [.., "PORT", port, protocol, "PROTO" | "ADDR"] => is_port(port) && is_protocol(protocol),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_kubernetes_services_are_not_settings() {
        for name in [
            "RSCORE_SERVICE_HOST",
            "RSCORE_SERVICE_PORT",
            "RSCORE_SERVICE_PORT_HTTPS",
            "RSCORE_PORT",
            "RSCORE_PORT_8443_TCP",
            "RSCORE_PORT_8443_TCP_ADDR",
            "RSCORE_ADMIN_PORT_9090_TCP_PROTO",
            "RSCORE_ADMIN_SERVICE_HOST",
        ] {
            assert!(is_service_link(name), "{name}");
        }
        for name in ["RSCORE_SERVER__LISTEN", "RSCORE_LISTEN", "RSCORE_SERVER__PORT", "RSCORE_PORT_X_TCP"] {
            assert!(!is_service_link(name), "{name}");
        }
    }

    #[test]
    fn empty_foreign_and_other_names_are_left_out() {
        let environment: Environment = [
            ("RSCORE_SERVER__THREADS", "2"),
            ("RSCORE_AUTH__ISSUER", ""),
            ("RSCORE_TOKEN", "secret"),
            ("PATH", "/bin"),
            ("RSCORE_PORT", "tcp://10.0.0.1:8443"),
        ]
        .into_iter()
        .collect();
        assert_eq!(environment.settings().collect::<Vec<_>>(), [("RSCORE_SERVER__THREADS", "2")]);
    }
}
