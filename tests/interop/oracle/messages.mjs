// Operations of one device with another: bundles, sessions, identities, sender keys.

import { Device } from './device.mjs';
import { releaseNamed } from './releases.mjs';
import { base64, bytesField, momentField, numberField, optional, textField, UsageError } from './requests.mjs';

const devices = new Map();

function deviceOf(request) {
  const handle = textField(request, 'device');
  const device = devices.get(handle);
  if (device === undefined) {
    throw new UsageError(`no device ${handle}`);
  }
  return device;
}

function remoteOf(device, request) {
  return device.remote(textField(request, 'remote_name'), numberField(request, 'remote_device_id'));
}

function createDevice(request) {
  const handle = textField(request, 'device');
  if (devices.has(handle)) {
    throw new UsageError(`device ${handle} exists already`);
  }
  const device = new Device(releaseNamed(optional(textField, request, 'release')), {
    name: textField(request, 'name'),
    deviceId: numberField(request, 'device_id'),
    identityPrivateKey: optional(bytesField, request, 'identity_private_key'),
    registrationId: numberField(request, 'registration_id'),
    serialized: request.serialized === true,
  });
  devices.set(handle, device);
  return { identity_key: base64(device.publicKey.serialize()) };
}

function dropDevice(request) {
  return { dropped: devices.delete(textField(request, 'device')) };
}

function prekeyIds(request) {
  const device = deviceOf(request);
  return {
    one_time_prekey_ids: device.preKeys.records.ids(),
    signed_prekey_ids: device.signedPreKeys.records.ids(),
    kem_prekey_ids: device.kyberPreKeys.records.ids(),
  };
}

function kemChoice(request) {
  const choice = optional(textField, request, 'kem');
  if (choice !== undefined && choice !== 'one_time' && choice !== 'last_resort') {
    throw new UsageError('field kem must be "one_time", "last_resort" or null');
  }
  return choice;
}

async function makeBundle(request) {
  const device = deviceOf(request);
  const signed = await device.signedPreKey(optional(numberField, request, 'signed_prekey_id'));
  const oneTime = request.one_time
    ? await device.oneTimePreKey(optional(numberField, request, 'one_time_prekey_id'))
    : undefined;
  const kem = kemChoice(request)
    ? await device.kyberPreKey(request.kem === 'last_resort', optional(numberField, request, 'kem_prekey_id'))
    : undefined;
  return {
    registration_id: device.registrationId,
    device_id: device.deviceId,
    identity_key: base64(device.publicKey.serialize()),
    signed_prekey_id: signed.id(),
    signed_prekey: base64(signed.publicKey().serialize()),
    signed_prekey_signature: base64(signed.signature()),
    kem_prekey_id: kem?.id() ?? null,
    kem_prekey: kem ? base64(kem.publicKey().serialize()) : null,
    kem_prekey_signature: kem ? base64(kem.signature()) : null,
    one_time_prekey_id: oneTime?.id() ?? null,
    one_time_prekey: oneTime ? base64(oneTime.publicKey().serialize()) : null,
  };
}

/** The private halves of the prekeys with the given ids, and of the identity. */
async function bundleSecrets(request) {
  const device = deviceOf(request);
  const oneTimeId = optional(numberField, request, 'one_time_prekey_id');
  const kemId = optional(numberField, request, 'kem_prekey_id');
  return device.guarded(async () => {
    const signed = await device.signedPreKeys.getSignedPreKey(numberField(request, 'signed_prekey_id'));
    const oneTime = oneTimeId === undefined ? undefined : await device.preKeys.getPreKey(oneTimeId);
    const kem = kemId === undefined ? undefined : await device.kyberPreKeys.getKyberPreKey(kemId);
    return {
      identity: base64(device.privateKey.serialize()),
      signed_prekey: base64(signed.privateKey().serialize()),
      one_time_prekey: oneTime ? base64(oneTime.privateKey().serialize()) : null,
      kem_prekey: kem ? base64(kem.secretKey().serialize()) : null,
    };
  });
}

/** libsignal's bundle value from the public fields of a request. */
function bundleFrom(lib, request) {
  const oneTime = optional(bytesField, request, 'one_time_prekey');
  const kem = optional(bytesField, request, 'kem_prekey');
  return lib.PreKeyBundle.new(
    numberField(request, 'registration_id'),
    numberField(request, 'device_id'),
    optional(numberField, request, 'one_time_prekey_id') ?? null,
    oneTime === undefined ? null : lib.PublicKey.deserialize(oneTime),
    numberField(request, 'signed_prekey_id'),
    lib.PublicKey.deserialize(bytesField(request, 'signed_prekey')),
    bytesField(request, 'signed_prekey_signature'),
    lib.PublicKey.deserialize(bytesField(request, 'identity_key')),
    optional(numberField, request, 'kem_prekey_id') ?? null,
    kem === undefined ? null : lib.KEMPublicKey.deserialize(kem),
    optional(bytesField, request, 'kem_prekey_signature') ?? null,
  );
}

async function processBundle(request) {
  const device = deviceOf(request);
  const bundle = bundleFrom(device.lib, request);
  const remote = remoteOf(device, request);
  await device.guarded(() => device.release.processBundle(device, bundle, remote, momentField(request)));
  return {};
}

async function encrypt(request) {
  const device = deviceOf(request);
  const remote = remoteOf(device, request);
  const plaintext = bytesField(request, 'plaintext');
  const message = await device.guarded(() => device.release.encrypt(device, plaintext, remote, momentField(request)));
  return { kind: message.type(), body: base64(message.serialize()) };
}

async function decrypt(request) {
  const device = deviceOf(request);
  const { lib, release } = device;
  const remote = remoteOf(device, request);
  const body = bytesField(request, 'body');
  const kind = numberField(request, 'kind');
  const plaintext = await device.guarded(() => {
    switch (kind) {
      case lib.CiphertextMessageType.PreKey:
        return release.decryptPreKey(device, lib.PreKeySignalMessage.deserialize(body), remote);
      case lib.CiphertextMessageType.Whisper:
        return release.decrypt(device, lib.SignalMessage.deserialize(body), remote);
      default:
        throw new UsageError(`kind ${kind} is neither a prekey message (3) nor a signal message (2)`);
    }
  });
  return { plaintext: base64(plaintext) };
}

function sessionOf(device, request) {
  const record = device.sessions.find(remoteOf(device, request));
  if (record === undefined) {
    throw new UsageError('no session record with this address');
  }
  return record;
}

/** Version of the current session and number of archived ones, from a serialised record: its fields 1.1 and 2. */
function summaryOf(record) {
  let version = null;
  let archived = 0;
  for (let at = 0; at < record.length; ) {
    const tag = record[at];
    at += 1;
    let size = 0;
    for (let shift = 0; ; shift += 7) {
      size |= (record[at] & 0x7f) << shift;
      at += 1;
      if (record[at - 1] < 0x80) break;
    }
    if (tag === 0x12) archived += 1;
    if (tag === 0x0a && record[at] === 0x08) version = record[at + 1];
    at += size;
  }
  return { version, archived };
}

function sessionInfo(request) {
  const device = deviceOf(request);
  const record = device.sessions.find(remoteOf(device, request));
  if (record === undefined) {
    return { exists: false };
  }
  const hasCurrentState = record.hasCurrentState(momentField(request));
  const { version, archived } = summaryOf(record.serialize());
  return {
    exists: true,
    has_current_state: hasCurrentState,
    version,
    archived,
    // libsignal throws for a record without a current session.
    local_registration_id: version === null ? null : record.localRegistrationId(),
    remote_registration_id: version === null ? null : record.remoteRegistrationId(),
  };
}

function archiveSession(request) {
  const device = deviceOf(request);
  const record = sessionOf(device, request);
  record.archiveCurrentState();
  device.sessions.put(remoteOf(device, request), record);
  return {};
}

function exportSession(request) {
  return { record: base64(sessionOf(deviceOf(request), request).serialize()) };
}

function importSession(request) {
  const device = deviceOf(request);
  const record = device.lib.SessionRecord.deserialize(bytesField(request, 'record'));
  device.sessions.put(remoteOf(device, request), record);
  return {};
}

function deleteSession(request) {
  const device = deviceOf(request);
  return { deleted: device.sessions.remove(remoteOf(device, request)) };
}

function ratchetKeyMatches(request) {
  const device = deviceOf(request);
  const key = device.lib.PublicKey.deserialize(bytesField(request, 'key'));
  return { matches: sessionOf(device, request).currentRatchetKeyMatches(key) };
}

function saveIdentity(request) {
  const device = deviceOf(request);
  device.identities.put(remoteOf(device, request), device.lib.PublicKey.deserialize(bytesField(request, 'key')));
  return {};
}

function getIdentity(request) {
  const device = deviceOf(request);
  const key = device.identities.find(remoteOf(device, request));
  return { key: key === undefined ? null : base64(key.serialize()) };
}

function forgetIdentity(request) {
  const device = deviceOf(request);
  return { forgotten: device.identities.forget(remoteOf(device, request)) };
}

async function createDistribution(request) {
  const device = deviceOf(request);
  const distributionId = textField(request, 'distribution_id');
  const message = await device.guarded(() =>
    device.lib.SenderKeyDistributionMessage.create(device.address, distributionId, device.senderKeys),
  );
  return { body: base64(message.serialize()) };
}

async function processDistribution(request) {
  const device = deviceOf(request);
  const remote = remoteOf(device, request);
  const message = device.lib.SenderKeyDistributionMessage.deserialize(bytesField(request, 'body'));
  await device.guarded(() => device.lib.processSenderKeyDistributionMessage(remote, message, device.senderKeys));
  return {};
}

async function groupEncrypt(request) {
  const device = deviceOf(request);
  const distributionId = textField(request, 'distribution_id');
  const plaintext = bytesField(request, 'plaintext');
  const message = await device.guarded(() =>
    device.lib.groupEncrypt(device.address, distributionId, device.senderKeys, plaintext),
  );
  return { kind: message.type(), body: base64(message.serialize()) };
}

async function groupDecrypt(request) {
  const device = deviceOf(request);
  const remote = remoteOf(device, request);
  const body = bytesField(request, 'body');
  const plaintext = await device.guarded(() => device.lib.groupDecrypt(remote, device.senderKeys, body));
  return { plaintext: base64(plaintext) };
}

function exportSenderKey(request) {
  const device = deviceOf(request);
  const record = device.senderKeys.find(remoteOf(device, request), textField(request, 'distribution_id'));
  if (record === undefined) {
    throw new UsageError('no sender key record with this address and distribution id');
  }
  return { record: base64(record.serialize()) };
}

function importSenderKey(request) {
  const device = deviceOf(request);
  const record = device.lib.SenderKeyRecord.deserialize(bytesField(request, 'record'));
  device.senderKeys.put(remoteOf(device, request), textField(request, 'distribution_id'), record);
  return {};
}

function deleteSenderKey(request) {
  const device = deviceOf(request);
  return { deleted: device.senderKeys.remove(remoteOf(device, request), textField(request, 'distribution_id')) };
}

export const messageOperations = {
  create_device: createDevice,
  drop_device: dropDevice,
  prekey_ids: prekeyIds,
  make_bundle: makeBundle,
  bundle_secrets: bundleSecrets,
  process_bundle: processBundle,
  encrypt,
  decrypt,
  session_info: sessionInfo,
  archive_session: archiveSession,
  export_session: exportSession,
  import_session: importSession,
  delete_session: deleteSession,
  ratchet_key_matches: ratchetKeyMatches,
  save_identity: saveIdentity,
  get_identity: getIdentity,
  forget_identity: forgetIdentity,
  create_distribution: createDistribution,
  process_distribution: processDistribution,
  group_encrypt: groupEncrypt,
  group_decrypt: groupDecrypt,
  export_sender_key: exportSenderKey,
  import_sender_key: importSenderKey,
  delete_sender_key: deleteSenderKey,
};
