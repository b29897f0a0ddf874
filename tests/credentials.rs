//! Every kind of credential, from its files to answers of the simulated Partner Center, under
//! simulated time.

#[path = "credentials/certificate.rs"]
mod certificate;
#[path = "credentials/federated.rs"]
mod federated;
#[path = "credentials/refresh.rs"]
mod refresh;
#[path = "credentials/refusals.rs"]
mod refusals;
#[path = "credentials/support.rs"]
mod support;
