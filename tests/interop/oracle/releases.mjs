// The two releases of libsignal, and the few places where their interfaces differ.
//
// CURRENT makes version 4 sessions (PQXDH) with the post-quantum ratchet. X3DH_ERA is the last line of releases that
// still makes version 3 sessions (X3DH), and makes version 4 sessions without the post-quantum ratchet.

import { createRequire } from 'node:module';
import * as current from '@signalapp/libsignal-client';

import { UsageError } from './requests.mjs';

const require = createRequire(import.meta.url);
const x3dhEra = require('libsignal-x3dh');

export const CURRENT = '0.103.0';
export const X3DH_ERA = '0.60.2';

const releases = new Map([
  [
    CURRENT,
    {
      version: CURRENT,
      lib: current,
      installed: require('@signalapp/libsignal-client/package.json').version,
      processBundle: (device, bundle, remote, now) =>
        current.processPreKeyBundle(bundle, remote, device.address, device.sessions, device.identities, now),
      encrypt: (device, plaintext, remote, now) =>
        current.signalEncrypt(plaintext, remote, device.address, device.sessions, device.identities, now),
      decrypt: (device, message, remote) =>
        current.signalDecrypt(message, remote, device.address, device.sessions, device.identities),
      decryptPreKey: (device, message, remote) =>
        current.signalDecryptPreKey(
          message,
          remote,
          device.address,
          device.sessions,
          device.identities,
          device.preKeys,
          device.signedPreKeys,
          device.kyberPreKeys,
        ),
      identityChange: (changed) =>
        changed ? current.IdentityChange.ReplacedExisting : current.IdentityChange.NewOrUnchanged,
    },
  ],
  [
    X3DH_ERA,
    {
      version: X3DH_ERA,
      lib: x3dhEra,
      installed: require('libsignal-x3dh/package.json').version,
      // No local address: this release binds no addresses into its messages.
      processBundle: (device, bundle, remote, now) =>
        x3dhEra.processPreKeyBundle(bundle, remote, device.sessions, device.identities, now),
      encrypt: (device, plaintext, remote, now) =>
        x3dhEra.signalEncrypt(plaintext, remote, device.sessions, device.identities, now),
      decrypt: (device, message, remote) =>
        x3dhEra.signalDecrypt(message, remote, device.sessions, device.identities),
      decryptPreKey: (device, message, remote) =>
        x3dhEra.signalDecryptPreKey(
          message,
          remote,
          device.sessions,
          device.identities,
          device.preKeys,
          device.signedPreKeys,
          device.kyberPreKeys,
        ),
      identityChange: (changed) => changed,
    },
  ],
]);

/** The release called *version*; the current one if none is named. */
export function releaseNamed(version = CURRENT) {
  const release = releases.get(version);
  if (release === undefined) {
    throw new UsageError(`no release ${version}: there are ${[...releases.keys()].join(', ')}`);
  }
  return release;
}

export function installedReleases() {
  return Object.fromEntries([...releases].map(([name, release]) => [name, release.installed]));
}
