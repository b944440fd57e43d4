//! The lease that holds what is being seeded until a name does.
//!
//! A run that was killed leaves its lease, so that what it brought in is still there for the next run; the next run that ends well
//! takes it away, and containerd itself does so after a day.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::Error;
use super::api::leases::{AddResourceRequest, CreateRequest, DeleteRequest, ListRequest, Resource};
use super::error::{found, made};
use super::session::Session;

/// How long a lease that nobody deletes is kept.
const EXPIRY: Duration = Duration::from_hours(24);
/// What the ids of our leases begin with.
const PREFIX: &str = "coracle-seed-";
/// Deleting collects garbage before it answers, which is files to remove.
const COLLECTION: Duration = Duration::from_mins(10);

/// The id of the lease of a run that begins at `now`, in the process `process`: what a killed run left is told apart from what this one
/// makes also where both began within one tick of the clock, since containerd may still be working for the dead one.
pub(super) fn id(now: Timestamp, process: u32) -> String {
    format!("{PREFIX}{}-{process}", now.as_nanosecond())
}

/// Makes the lease.
pub(super) async fn create(session: &Session, id: &str, now: Timestamp) -> Result<(), Error> {
    let expiry = now.saturating_add(EXPIRY).unwrap_or(Timestamp::MAX);
    let labels = BTreeMap::from([("containerd.io/gc.expire".to_owned(), expiry.to_string())]);
    let answer = session.leases().create(session.quick(CreateRequest { id: id.to_owned(), labels })).await;
    made(answer).map_err(Error::call("make the lease", id))?;
    Ok(())
}

/// Holds something that is there already. Naming what is not there is no error in containerd.
pub(super) async fn hold(session: &Session, lease: &str, kind: &str, id: &str) -> Result<(), Error> {
    let resource = Some(Resource { id: id.to_owned(), r#type: kind.to_owned() });
    let answer = session.leases().add_resource(session.quick(AddResourceRequest { id: lease.to_owned(), resource })).await;
    made(answer).map_err(Error::call("hold", id))?;
    Ok(())
}

/// Deletes our leases, this run's last: containerd then collects what nothing else names, before it answers.
pub(super) async fn delete_all(session: &Session, own: &str) -> Result<(), Error> {
    let list = session.leases().list(session.quick(ListRequest { filters: Vec::new() })).await;
    let leases = list.map_err(Error::call("list", "leases"))?.into_inner().leases;
    let others = leases.into_iter().map(|lease| lease.id).filter(|id| id.starts_with(PREFIX) && id != own);
    for id in others {
        delete(session, id, false).await?;
    }
    delete(session, own.to_owned(), true).await
}

/// Makes containerd collect garbage now: a lease that holds nothing is made and deleted.
pub(super) async fn collect(session: &Session, own: &str) -> Result<(), Error> {
    let id = format!("{own}-collect");
    let answer = session.leases().create(session.quick(CreateRequest { id: id.clone(), labels: BTreeMap::new() })).await;
    made(answer).map_err(Error::call("make the lease", &id))?;
    delete(session, id, true).await
}

async fn delete(session: &Session, id: String, sync: bool) -> Result<(), Error> {
    let answer = session.leases().delete(session.bounded(DeleteRequest { id: id.clone(), sync }, COLLECTION)).await;
    found(answer).map_err(Error::call("delete the lease", id))?;
    Ok(())
}
