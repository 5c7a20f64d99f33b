//! Settings of the credentials for Microsoft Entra.

use super::error::Reader;
use secrecy::SecretString;
use url::Url;

/// Credentials for Microsoft Entra. Managed identity wins when it is present; without either, nothing is synced.
#[derive(Debug, Clone)]
pub struct EntraSettings {
    /// The platform's managed identity, when both of its variables are set.
    pub managed_identity: Option<ManagedIdentitySettings>,
    /// The app registration's secret, when all three of its variables are set.
    pub client_secret: Option<ClientSecretSettings>,
    /// What is missing for a client secret, by variable name: empty when a credential is configured.
    pub missing: Vec<&'static str>,
    /// Stands in for the public Entra, for development: loopback only. Read from `ENTRA_BASE_URL`.
    pub base_url: Option<Url>,
}

/// The managed identity of the Functions platform.
#[derive(Debug, Clone)]
pub struct ManagedIdentitySettings {
    /// The platform's token endpoint. Read from `IDENTITY_ENDPOINT`.
    pub endpoint: Url,
    /// The secret that the endpoint wants in a header. Read from `IDENTITY_HEADER`.
    pub header: SecretString,
    /// Which user-assigned identity; the system-assigned one when not set. Read from `AZURE_CLIENT_ID`.
    pub client_id: Option<String>,
}

/// An app registration with a client secret.
#[derive(Debug, Clone)]
pub struct ClientSecretSettings {
    /// Directory (tenant) id or domain. Read from `AZURE_TENANT_ID`.
    pub tenant_id: String,
    /// Application (client) id. Read from `AZURE_CLIENT_ID`.
    pub client_id: String,
    /// Read from `AZURE_CLIENT_SECRET`.
    pub secret: SecretString,
}

impl EntraSettings {
    /// Our own application's id, where the settings name it. Planner says it of tasks that we made.
    pub fn application_id(&self) -> Option<&str> {
        let managed = self.managed_identity.as_ref().and_then(|identity| identity.client_id.as_deref());
        managed.or_else(|| self.client_secret.as_ref().map(|secret| secret.client_id.as_str()))
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let client_id = reader.text("AZURE_CLIENT_ID");
        let managed_identity = Self::managed_identity(reader, client_id.clone());
        let tenant_id = reader.text("AZURE_TENANT_ID");
        if tenant_id
            .as_deref()
            .is_some_and(|id| !id.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c)))
        {
            reader.reject(
                "AZURE_TENANT_ID",
                "must be a tenant's id or domain: letters, digits, `.` and `-` only",
            );
        }
        let secret = reader.secret("AZURE_CLIENT_SECRET");
        let mut missing = Vec::new();
        if managed_identity.is_none() {
            missing.extend(tenant_id.is_none().then_some("AZURE_TENANT_ID"));
            missing.extend(client_id.is_none().then_some("AZURE_CLIENT_ID"));
            missing.extend(secret.is_none().then_some("AZURE_CLIENT_SECRET"));
        }
        let client_secret = match (tenant_id, client_id, secret) {
            (Some(tenant_id), Some(client_id), Some(secret)) => {
                Some(ClientSecretSettings { tenant_id, client_id, secret })
            }
            _ => None,
        };
        let base_url =
            reader.text("ENTRA_BASE_URL").and_then(|text| reader.origin("ENTRA_BASE_URL", &text, true));
        Self { managed_identity, client_secret, missing, base_url }
    }

    fn managed_identity(
        reader: &mut Reader<'_>,
        client_id: Option<String>,
    ) -> Option<ManagedIdentitySettings> {
        let endpoint = reader.text("IDENTITY_ENDPOINT")?;
        let header = reader.secret("IDENTITY_HEADER")?;
        match Url::parse(&endpoint) {
            Ok(endpoint) if ["http", "https"].contains(&endpoint.scheme()) && endpoint.has_host() => {
                Some(ManagedIdentitySettings { endpoint, header, client_id })
            }
            _ => {
                reader.reject("IDENTITY_ENDPOINT", "must be an http or https address; the platform sets it");
                None
            }
        }
    }
}
