/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "ledger/message.h"

#include <string.h>

static const struct mb_message core_messages[] = {
    {"body.invalid",
     "the field \"{0}\" of the body is not as it should be ({1}); the module's manual lists the "
     "fields"},
    {"command.access",
     "{0} needs the role \"{1}\", which this key does not have; sign with a key that has it"},
    {"command.batch", "what the command would have run after it is too much: at most 16 commands, "
                      "once, and not from "
                      "within such a batch"},
    {"command.expired",
     "the command expired at {0}, and the ledger's time is {1}; make and sign it anew"},
    {"command.expires_late",
     "the command expires at {0}, later than {1}, which is allowed now; make it anew with an "
     "earlier time"},
    {"command.inadmissible",
     "the command is malformed, expired, for another organisation, or falsely signed; make and "
     "sign it anew"},
    {"command.invalid",
     "this is not a command; it has the fields org, key, type, nonce, expires and body"},
    {"command.key",
     "this key was replaced and speaks for nobody any more; sign with the key that replaced it"},
    {"command.org",
     "the command is for the organisation {0}, not for this one; check which organisation you "
     "chose"},
    {"command.repeated",
     "this command was taken in before, in slot {0} as result {1}; look there for what it came to"},
    {"command.too_large", "the command is larger than 524288 bytes; split it"},
    {"command.type",
     "this organisation has no command {0}; \"magicbiz org show\" lists the modules that it runs"},
    {"command.work",
     "a key without a role brings work: the command's id needs {0} leading zero bits; vary the "
     "nonce until it has them"},
    {"envelope.invalid",
     "an envelope is {\"command\":TEXT,\"signature\":BASE64} in strict JSON; see "
     "magicbiz-protocol(7)"},
    {"org.approved", "you approved the command {0} already; other founders have to"},
    {"org.attest_header", "this is not the hex of a header of this organisation"},
    {"org.attest_proof",
     "the header of slot {0} is not signed by a replica that was in force for it"},
    {"org.attest_same", "the header of slot {0} is the ledger's own: it is no evidence"},
    {"org.attest_slot",
     "the state has no header of slot {0}: it holds those of the newest 128 slots"},
    {"org.attested", "evidence against replica {0} is kept already"},
    {"org.beacon_commit", "replica {1} committed to nothing for the beacon of epoch {0}"},
    {"org.beacon_epoch",
     "the beacon of epoch {0} does not take this now, that of epoch {1} does: commit before an "
     "epoch begins, reveal while it lasts"},
    {"org.beacon_twice", "the beacon of epoch {0} has this of replica {1} already"},
    {"org.beacon_value",
     "this is not 64 lower-case hex digits, or not the value that replica {1} committed to for the "
     "beacon of epoch {0}"},
    {"org.config_waits",
     "another change of the replicas waits for slot {0}; send this one when it is in force"},
    {"org.founders_needed",
     "the organisation lacks a module that takes decisions (gov), or one that has members (books), "
     "so nobody could act if the founders retired; put both in use first (org.upgrade)"},
    {"org.key_invalid", "\"new\" is not an ssh-ed25519 public key of two fields"},
    {"org.key_old",
     "{0} is not the first fingerprint of an identity; name the key that it began with"},
    {"org.key_proof",
     "the proof is not the new key's signature in the namespace magicbiz-key over new, old and "
     "org; sign it with the new key"},
    {"org.key_replica",
     "{0} is a replica's key, and those cannot be replaced; add a new replica and remove this one"},
    {"org.key_used", "the key {0} is known here already; make a new one"},
    {"org.no_pending",
     "no command {0} waits for approval; it ran, expired, or never was; list core/pending/ to see "
     "those that wait"},
    {"org.onion_invalid", "{0} is not a version 3 onion address"},
    {"org.onion_known",
     "{0} was revoked, or is the organisation's or a replica's already; make a new key"},
    {"org.onion_old", "{0} is not the organisation's present onion, so it cannot be revoked"},
    {"org.onion_proof", "{0} replicas signed the new onion, {1} are needed"},
    {"org.param_name",
     "\"{0}\" cannot be a parameter's name: 1 to 64 lower-case letters, digits, \"_\" and \".\""},
    {"org.param_value",
     "this cannot be the value of {0}: integers and texts up to 1024 bytes are, work_bits is 0 to "
     "32, and beacon 0 or 1"},
    {"org.ready_header", "the state does not have this header of slot {0}: ready names one of the "
                         "newest 128 slots; let "
                         "the new replica catch up and sign anew"},
    {"org.ready_proof", "ready is not the new key's signature, in the namespace magicbiz-replica, "
                        "of the header and of "
                        "where the replica is reached"},
    {"org.replica_full", "there are {0} replicas, and no more are possible: remove one first"},
    {"org.replica_invalid", "the field \"{0}\" is not what a new replica needs there"},
    {"org.replica_known",
     "{0} is or was somebody's here already; give the new replica keys and onions of its own"},
    {"org.replica_last", "replica {0} is the last one and cannot be removed: add another first"},
    {"org.replica_unknown",
     "there is no replica {0} in force; magicbiz replica list shows those that are"},
    {"org.upgrade_module", "\"{0}\" cannot be a module's name"},
    {"org.upgrade_slot",
     "slot {0} is too early: replicas need until slot {1} to hear of it, and their operators time "
     "to install the new version"},
    {"org.upgrade_version",
     "{0} version {1} would be a step back from version {2}, which is in use; versions only rise"},
    {"signature.false", "the signature does not fit the command; sign exactly the bytes you send"},
    {"signature.invalid", "this is not an SSHSIG by an ssh-ed25519 key with sha512"},
    {"signature.key", "the signature is by another key than the command's \"key\""},
    {"signature.namespace",
     "the signature was made for another purpose; sign with ssh-keygen -Y sign -n magicbiz"},
    {"state.foreign",
     "the command tried to write outside its module; this is a fault of the module, report it"},
    {"state.limit",
     "the command would write a key over 255 bytes or a value over 512 KiB; make its body smaller"},
    {0},
};

static const char *find(const struct mb_message *messages, const char *code)
{
    for (; messages && messages->code; messages++)
        if (strcmp(messages->code, code) == 0)
            return messages->text;
    return NULL;
}

static void add_arg(struct mb_buf *out, const json_t *arg)
{
    if (json_is_string(arg))
        mb_buf_add_text(out, json_string_value(arg));
    else if (json_is_integer(arg))
        mb_buf_addf(out, "%lld", (long long)json_integer_value(arg));
}

static void fill_in(struct mb_buf *out, const char *text, const json_t *args)
{
    for (const char *p = text; *p; p++) {
        if (p[0] == '{' && p[1] >= '0' && p[1] <= '9' && p[2] == '}') {
            add_arg(out, json_array_get(args, (size_t)(p[1] - '0')));
            p += 2;
        } else {
            mb_buf_add_u8(out, (uint8_t)*p);
        }
    }
}

void mb_message(struct mb_buf *out, const char *code, const json_t *args,
                const struct mb_logic *const *modules, size_t module_count)
{
    const char *text = find(core_messages, code);
    for (size_t i = 0; i < module_count && !text; i++)
        text = find(modules[i]->messages, code);
    if (text) {
        fill_in(out, text, args);
        return;
    }
    mb_buf_add_text(out, code);
    for (size_t i = 0; i < json_array_size(args); i++) {
        mb_buf_add_text(out, i == 0 ? ": " : ", ");
        add_arg(out, json_array_get(args, i));
    }
}

void mb_message_fill(struct mb_error *error, const struct mb_logic *const *modules,
                     size_t module_count)
{
    struct mb_buf text = {0};
    if (error->text[0])
        return;
    json_t *args = json_loadb(error->args, strlen(error->args), 0, NULL);
    mb_message(&text, error->code, args, modules, module_count);
    mb_snprintf(error->text, sizeof error->text, "%s", mb_buf_text(&text));
    json_decref(args);
    mb_buf_clear(&text);
}
