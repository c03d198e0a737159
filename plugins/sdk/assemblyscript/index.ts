/**
 * Write plugins for Rollcall, a websocket presence gateway. README.md shows how.
 *
 * The entry file of a plugin exports what the host calls, and registers a function for each hook:
 *
 *     import { Member, onMembers } from "./rollcall";
 *     export { rollcall_abi_v1, rollcall_buffer, rollcall_members, rollcall_members_live } from "./rollcall";
 *
 *     onMembers((member: Member): void => {
 *       member.remove("email");
 *     });
 */
export * from "./config";
export * from "./decision";
export * from "./hooks";
export * from "./host";
export * from "./json";
export * from "./login";
export * from "./member";
export * from "./message";
export * from "./request";
export * from "./shape";
