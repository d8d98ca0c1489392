//! Flags that stand for settings. They carry text as it was typed: `config`
//! checks it together with the other layers, so that a mistake here is reported
//! along with those in the file and the environment. Their help, with the
//! setting's other names, comes from `config/reference.rs`.

use std::path::PathBuf;

use clap::Args;

use crate::config::FlagValue;
use crate::config::reference::flag_help;

/// Where the settings of a subcommand come from.
#[derive(Debug, Clone, Args)]
pub struct SettingsArguments {
    /// Configuration file; ./rscore.toml is read when there is one and none is named [environment: RSCORE_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Settings of the server that have a flag of their own.
#[derive(Debug, Clone, Args)]
pub struct ServerArguments {
    #[arg(long, value_name = "DIR|URL", help = flag_help("models.path"))]
    models: Option<String>,
    #[arg(long, value_name = "ADDRESS", help = flag_help("server.listen"))]
    listen: Option<String>,
    #[arg(long, value_name = "ADDRESS", help = flag_help("server.admin_listen"))]
    admin_listen: Option<String>,
    #[arg(long, value_name = "COUNT", help = flag_help("workers.count"))]
    workers: Option<String>,
    #[arg(long, value_name = "FILE", help = flag_help("tls.certificate"))]
    tls_certificate: Option<String>,
    #[arg(long, value_name = "FILE", help = flag_help("tls.key"))]
    tls_key: Option<String>,
    #[arg(long, value_name = "FILE", help = flag_help("auth.keys"), long_help = flag_help("auth.keys") + "; give the flag once per file")]
    auth_key: Vec<String>,
}

impl ServerArguments {
    /// The flags that were given.
    pub fn flags(&self) -> Vec<FlagValue> {
        let mut flags: Vec<FlagValue> = [
            ("models.path", "--models", &self.models),
            ("server.listen", "--listen", &self.listen),
            ("server.admin_listen", "--admin-listen", &self.admin_listen),
            ("workers.count", "--workers", &self.workers),
            ("tls.certificate", "--tls-certificate", &self.tls_certificate),
            ("tls.key", "--tls-key", &self.tls_key),
        ]
        .into_iter()
        .filter_map(|(key, flag, value)| flag_value(key, flag, value.as_ref()))
        .collect();
        if !self.auth_key.is_empty() {
            flags.push(FlagValue { key: "auth.keys", flag: "--auth-key", values: self.auth_key.clone() });
        }
        flags
    }
}

/// A flag that can be given once, if it was.
pub(super) fn flag_value(key: &'static str, flag: &'static str, value: Option<&String>) -> Option<FlagValue> {
    value.map(|value| FlagValue { key, flag, values: vec![value.clone()] })
}
