// Operations without a device: keys, signatures, fingerprints, and reading messages.

import { installedReleases, releaseNamed } from './releases.mjs';
import { base64, bytesField, numberField, optional, textField, UsageError } from './requests.mjs';

const DISTRIBUTION = 'distribution'; // a sender key distribution message has no type number of its own

function libOf(request) {
  return releaseNamed(optional(textField, request, 'release')).lib;
}

function privateKeyOf(request, name = 'private_key') {
  return libOf(request).PrivateKey.deserialize(bytesField(request, name));
}

function publicKeyOf(request, name = 'public_key') {
  return libOf(request).PublicKey.deserialize(bytesField(request, name));
}

function identityKeyPairOf(request) {
  const privateKey = privateKeyOf(request);
  return new (libOf(request).IdentityKeyPair)(privateKey.getPublicKey(), privateKey);
}

function info() {
  return { releases: installedReleases(), node: process.version };
}

function generateKeyPair(request) {
  const privateKey = libOf(request).PrivateKey.generate();
  return {
    private_key: base64(privateKey.serialize()),
    public_key: base64(privateKey.getPublicKey().serialize()),
  };
}

function loadPrivateKey(request) {
  const privateKey = privateKeyOf(request);
  return {
    private_key: base64(privateKey.serialize()),
    public_key: base64(privateKey.getPublicKey().serialize()),
  };
}

function loadPublicKey(request) {
  return { public_key: base64(publicKeyOf(request).serialize()) };
}

function sign(request) {
  return { signature: base64(privateKeyOf(request).sign(bytesField(request, 'message'))) };
}

function verify(request) {
  const valid = publicKeyOf(request).verify(bytesField(request, 'message'), bytesField(request, 'signature'));
  return { valid };
}

function agree(request) {
  return { secret: base64(privateKeyOf(request).agree(publicKeyOf(request))) };
}

function signAlternateIdentity(request) {
  return { signature: base64(identityKeyPairOf(request).signAlternateIdentity(publicKeyOf(request, 'other'))) };
}

function verifyAlternateIdentity(request) {
  const other = publicKeyOf(request, 'other');
  return { valid: publicKeyOf(request).verifyAlternateIdentity(other, bytesField(request, 'signature')) };
}

function encodeIdentityKeyPair(request) {
  return { encoded: base64(identityKeyPairOf(request).serialize()) };
}

function decodeIdentityKeyPair(request) {
  const pair = libOf(request).IdentityKeyPair.deserialize(bytesField(request, 'encoded'));
  return { private_key: base64(pair.privateKey.serialize()), public_key: base64(pair.publicKey.serialize()) };
}

function generateKemKeyPair(request) {
  const pair = libOf(request).KEMKeyPair.generate();
  return {
    private_key: base64(pair.getSecretKey().serialize()),
    public_key: base64(pair.getPublicKey().serialize()),
  };
}

function loadKemPublicKey(request) {
  const key = libOf(request).KEMPublicKey.deserialize(bytesField(request, 'public_key'));
  return { public_key: base64(key.serialize()) };
}

function loadKemPrivateKey(request) {
  const key = libOf(request).KEMSecretKey.deserialize(bytesField(request, 'private_key'));
  return { private_key: base64(key.serialize()) };
}

function fingerprint(request) {
  const value = libOf(request).Fingerprint.new(
    numberField(request, 'iterations'),
    numberField(request, 'version'),
    bytesField(request, 'local_id'),
    publicKeyOf(request, 'local_key'),
    bytesField(request, 'remote_id'),
    publicKeyOf(request, 'remote_key'),
  );
  return {
    digits: value.displayableFingerprint().toString(),
    scannable: base64(value.scannableFingerprint().toBuffer()),
  };
}

function compareFingerprints(request) {
  const { ScannableFingerprint } = libOf(request);
  const ours = ScannableFingerprint._fromBuffer(bytesField(request, 'ours'));
  const theirs = ScannableFingerprint._fromBuffer(bytesField(request, 'theirs'));
  return { equal: ours.compare(theirs) };
}

function parsePreKeyMessage(lib, body) {
  const message = lib.PreKeySignalMessage.deserialize(body);
  return {
    version: message.version(),
    registration_id: message.registrationId(),
    one_time_prekey_id: message.preKeyId(),
    signed_prekey_id: message.signedPreKeyId(),
    serialized: base64(message.serialize()),
  };
}

function parseSignalMessage(lib, body) {
  const message = lib.SignalMessage.deserialize(body);
  return {
    version: message.messageVersion(),
    counter: message.counter(),
    ciphertext: base64(message.body()),
    // The older release knows nothing of the post-quantum ratchet and cannot show its bytes.
    pq_ratchet: message.pqRatchet === undefined ? null : base64(message.pqRatchet()),
    serialized: base64(message.serialize()),
  };
}

function parseSenderKeyMessage(lib, body) {
  const message = lib.SenderKeyMessage.deserialize(body);
  return {
    distribution_id: message.distributionId(),
    chain_id: message.chainId(),
    iteration: message.iteration(),
    ciphertext: base64(message.ciphertext()),
    serialized: base64(message.serialize()),
  };
}

function parseDistributionMessage(lib, body) {
  const message = lib.SenderKeyDistributionMessage.deserialize(body);
  return {
    distribution_id: message.distributionId(),
    chain_id: message.chainId(),
    iteration: message.iteration(),
    chain_key: base64(message.chainKey()),
    serialized: base64(message.serialize()),
  };
}

function parseMessage(request) {
  const lib = libOf(request);
  const body = bytesField(request, 'body');
  switch (request.kind) {
    case lib.CiphertextMessageType.PreKey:
      return parsePreKeyMessage(lib, body);
    case lib.CiphertextMessageType.Whisper:
      return parseSignalMessage(lib, body);
    case lib.CiphertextMessageType.SenderKey:
      return parseSenderKeyMessage(lib, body);
    case DISTRIBUTION:
      return parseDistributionMessage(lib, body);
    default:
      throw new UsageError(`kind must be 2, 3, 7 or "${DISTRIBUTION}"`);
  }
}

function verifySenderKeyMessage(request) {
  const message = libOf(request).SenderKeyMessage.deserialize(bytesField(request, 'body'));
  return { valid: message.verifySignature(publicKeyOf(request)) };
}

export const keyOperations = {
  info,
  generate_key_pair: generateKeyPair,
  load_private_key: loadPrivateKey,
  load_public_key: loadPublicKey,
  sign,
  verify,
  agree,
  sign_alternate_identity: signAlternateIdentity,
  verify_alternate_identity: verifyAlternateIdentity,
  encode_identity_key_pair: encodeIdentityKeyPair,
  decode_identity_key_pair: decodeIdentityKeyPair,
  generate_kem_key_pair: generateKemKeyPair,
  load_kem_public_key: loadKemPublicKey,
  load_kem_private_key: loadKemPrivateKey,
  fingerprint,
  compare_fingerprints: compareFingerprints,
  parse_message: parseMessage,
  verify_sender_key_message: verifySenderKeyMessage,
};
