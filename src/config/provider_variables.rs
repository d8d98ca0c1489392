//! The variables that cloud providers' own tools use for accounts, keys and
//! endpoints, such as `AZURE_STORAGE_ACCOUNT_NAME` or `AWS_REGION`. Credentials
//! come from here and from nowhere else: no setting, job file or URL holds one.

use std::collections::BTreeMap;
use std::fmt;

/// How the names begin that are handed to the part that talks to stores.
const PREFIXES: &[&str] = &["AZURE_", "AZURITE_", "AWS_", "GOOGLE_", "IDENTITY_"];

/// Variables of providers by name. Their values are never shown.
#[derive(Clone, Default)]
pub struct ProviderVariables {
    variables: BTreeMap<String, String>,
}

impl ProviderVariables {
    /// The variables of this process; those that are empty or not UTF-8 are left
    /// out.
    #[expect(clippy::disallowed_methods, reason = "`config` reads the process environment")]
    pub fn from_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Names and values of the variables that begin with a prefix.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let variables = self.variables.iter().filter(move |(name, _)| name.starts_with(prefix));
        variables.map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for ProviderVariables {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        let ours = |(name, value): &(String, String)| {
            !value.is_empty() && PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        };
        Self { variables: variables.filter(ours).collect() }
    }
}

impl fmt::Debug for ProviderVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_never_shown_and_foreign_names_left_out() {
        let variables: ProviderVariables =
            [("AWS_SECRET_ACCESS_KEY", "swordfish"), ("AWS_REGION", ""), ("PATH", "/bin"), ("RSCORE_TOKEN", "x")]
                .into_iter()
                .collect();
        assert_eq!(format!("{variables:?}"), r#"{"AWS_SECRET_ACCESS_KEY"}"#);
        assert_eq!(variables.get("AWS_SECRET_ACCESS_KEY"), Some("swordfish"));
        assert_eq!(variables.get("PATH"), None);
        assert_eq!(variables.with_prefix("AZURE_").count(), 0);
    }
}
