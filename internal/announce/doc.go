// SPDX-License-Identifier: Apache-2.0

// Package announce asks for a rotation when Key Vault announces a new version of an object, so that pods have it within seconds and not at the next
// interval.
//
// A vault announces new versions through Azure Event Grid (Microsoft Learn, "Azure Key Vault as Event Grid source"). An event subscription passes
// them on to a topic of an Event Grid namespace, from which a [Controller] pulls them: nothing in the cluster is reachable from outside, and a
// private endpoint will do. One process of the cluster does so, for all nodes. An event is a hint and no more: it has no value in it, and all that
// it leads to is the annotation vaultferry.io/rotate-requested-at of the classes that mount the object, upon which drivers read it with the pods'
// own identities. What is never announced, such as an object that is disabled, is found at the next interval as before.
//
// An event is acknowledged once its classes have been asked for. One that is not comes again, and costs a refresh that changes nothing.
package announce
