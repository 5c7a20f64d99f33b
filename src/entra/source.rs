//! The credential that the settings name, and one request to it.

use super::{
    CredentialKind, Token,
    error::TokenFailure,
    transport::{Destination, GuardedTransport},
};
use crate::clock::SharedClock;
use crate::config::{ClientSecretSettings, EntraSettings, ManagedIdentitySettings};
use azure_core::{
    credentials::{Secret, TokenCredential},
    http::{ClientOptions, RetryOptions, Transport},
};
use azure_identity::{
    ClientSecretCredential, ClientSecretCredentialOptions, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions, UserAssignedId,
};
use secrecy::{ExposeSecret, SecretString};
use std::{error::Error, sync::Arc, time::Duration};

/// Entra is asked for a token at most this long.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A configured credential.
#[derive(Debug)]
pub(super) struct Source {
    credential: Configured,
    transport: Arc<GuardedTransport>,
}

#[derive(Debug)]
enum Configured {
    ManagedIdentity(ManagedIdentitySettings),
    ClientSecret(ClientSecretSettings),
}

impl Source {
    /// Managed identity when the platform offers it, else the client secret, else none.
    pub(super) fn choose(
        settings: &EntraSettings,
        http: reqwest::Client,
        clock: SharedClock,
    ) -> Option<Self> {
        let (credential, destination) = if let Some(identity) = &settings.managed_identity {
            let only = Destination::Only(identity.endpoint.clone());
            (Configured::ManagedIdentity(identity.clone()), only)
        } else {
            let destination = match &settings.base_url {
                Some(base) => Destination::InPlaceOf(base.clone()),
                None => Destination::Authority,
            };
            (Configured::ClientSecret(settings.client_secret.clone()?), destination)
        };
        Some(Self {
            credential,
            transport: Arc::new(GuardedTransport::new(http, destination, TIMEOUT, clock)),
        })
    }

    pub(super) fn kind(&self) -> CredentialKind {
        match self.credential {
            Configured::ManagedIdentity(_) => CredentialKind::ManagedIdentity,
            Configured::ClientSecret(_) => CredentialKind::ClientSecret,
        }
    }

    /// Asks for a token once.
    ///
    /// Each call builds a fresh credential object, because the one of `azure_identity` answers from a cache of its
    /// own that cannot be emptied; the cache that counts is the one of `Credentials`. It costs 0.05 ms.
    pub(super) async fn fetch(&self, scope: &str) -> Result<Token, TokenFailure> {
        let credential = self.build().map_err(|error| classify(&error))?;
        let access = credential.get_token(&[scope], None).await.map_err(|error| classify(&error))?;
        Ok(Token {
            secret: SecretString::from(access.token.secret().to_owned()),
            expires_at_ms: access.expires_on.unix_timestamp().saturating_mul(1000),
        })
    }

    fn build(&self) -> azure_core::Result<Arc<dyn TokenCredential>> {
        let client_options = ClientOptions {
            retry: RetryOptions::none(),
            transport: Some(Transport::new(Arc::clone(&self.transport) as _)),
            ..ClientOptions::default()
        };
        Ok(match &self.credential {
            // The SDK reads IDENTITY_ENDPOINT and IDENTITY_HEADER from the environment itself; the transport
            // refuses any other address than the configured one.
            Configured::ManagedIdentity(identity) => {
                ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
                    user_assigned_id: identity.client_id.clone().map(UserAssignedId::ClientId),
                    client_options,
                }))?
            }
            Configured::ClientSecret(app) => ClientSecretCredential::new(
                &app.tenant_id,
                app.client_id.clone(),
                Secret::new(app.secret.expose_secret().to_owned()),
                Some(ClientSecretCredentialOptions { client_options }),
            )?,
        })
    }
}

/// Finds what the transport said in the chain of sources. The SDK's own text is dropped: it may quote an answer.
fn classify(error: &azure_core::Error) -> TokenFailure {
    let mut link: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = link {
        if let Some(failure) = current.downcast_ref::<TokenFailure>() {
            return failure.clone();
        }
        link = current.source();
    }
    TokenFailure::unavailable()
}
